"""JAX on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.arrays.jax_ops import PRODUCTS, JaxOps

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.engine import Function
    from arena_py.frameworks.arrays.ops import Array, Ops

jax.config.update("jax_enable_x64", False)
PINNED = "pinned_host"
"""JAX's name for page-locked memory of the host."""


class JaxEngine:
    """Arrays on a device of a backend, functions compiled by XLA.

    Raises:
        RunnerError: `device_unavailable`.
    """

    def __init__(self, backend: str) -> None:
        try:
            self._device = jax.devices(backend)[0]
        except RuntimeError as error:
            raise RunnerError(
                "device_unavailable", f"this machine has no device for JAX's backend `{backend}`"
            ) from error
        self._operations = JaxOps()
        self.ops: Ops = self._operations
        self.separate = backend != "cpu"
        kinds = {memory.kind for memory in self._device.addressable_memories()}
        self._landing = SingleDeviceSharding(self._device, memory_kind=PINNED) if PINNED in kinds else None
        jax.config.update("jax_default_device", self._device)

    def use(self, precision: str) -> None:
        """Full float32 products, or TF32 inside of them, in what is compiled from now on."""
        self._operations.products = PRODUCTS[precision]
        # Also where an operation of the library takes its products itself, as attention does.
        jax.config.update("jax_default_matmul_precision", PRODUCTS[precision])

    def put(self, values: np.ndarray[Any, Any]) -> Array:
        """An array on the device, with memory of its own; ids become int32."""
        narrow = values.astype(np.int32) if values.dtype == np.int64 else values
        return jnp.array(narrow, device=self._device, copy=True)

    def get(self, values: Array) -> np.ndarray[Any, Any]:
        """An array on the host."""
        return np.asarray(values)

    def compile(self, function: Function, *examples: Any, donated: tuple[int, ...] = ()) -> Function:
        """Traced and compiled ahead of time."""
        compiled: Function = jax.jit(function, donate_argnums=donated).lower(*examples).compile()
        return compiled

    def shapes(self, function: Function, *examples: Any) -> Any:
        """Types and shapes without any computation."""
        return jax.eval_shape(function, *examples)

    def with_gradient(self, function: Function) -> Function:
        """The function and its gradient with respect to the first argument."""
        both: Function = jax.value_and_grad(function)
        return both

    def send_home(self, results: list[Array]) -> list[Array]:
        """Begin to copy arrays to page-locked memory of the host, all of them, before the first is waited for.

        `np.asarray` of an array there is a view of it; of one on the device it is one copy after the other, by way of
        a buffer of the driver and into memory that was just asked for.
        """
        if self._landing is None:
            for each in results:
                each.copy_to_host_async()
            return results
        landed: list[Array] = jax.device_put(results, self._landing)
        return landed

    def wait(self, *results: Any) -> None:
        """Return when the results are computed."""
        jax.block_until_ready(results)

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """XLA's `RESOURCE_EXHAUSTED` is `out_of_memory`."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise RunnerError("out_of_memory", str(error).splitlines()[0]) from error
            raise

    def device_name(self) -> str | None:
        """What the driver calls a device of its own."""
        return str(self._device.device_kind) if self.separate else None

    def device_bytes(self) -> int | None:
        """The peak on a device of its own."""
        statistics = self._device.memory_stats() if self.separate else None
        return None if statistics is None else int(statistics["peak_bytes_in_use"])
