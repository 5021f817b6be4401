"""MLX on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.arrays.mlx_ops import MlxOps

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.engine import Function
    from arena_py.frameworks.arrays.ops import Array, Ops


class MlxEngine:
    """Arrays on a device, functions traced and fused by `mx.compile`.

    Raises:
        RunnerError: `device_unavailable`.
    """

    def __init__(self, backend: str) -> None:
        device = mx.cpu if backend == "cpu" else mx.gpu
        if not mx.is_available(device):
            raise RunnerError("device_unavailable", f"this machine has no device for MLX's backend `{backend}`")
        mx.set_default_device(device)
        self.ops: Ops = MlxOps()
        self.separate = backend != "cpu"

    def use(self, precision: str) -> None:
        """There is one: float32, whose strictness MLX reads when it is imported."""

    def put(self, values: np.ndarray[Any, Any]) -> Array:
        """An array on the device; ids become int32."""
        return mx.array(values.astype(np.int32) if values.dtype == np.int64 else values)

    def get(self, values: Array) -> np.ndarray[Any, Any]:
        """An array on the host."""
        return np.array(values)

    def compile(self, function: Function, *examples: Any, donated: tuple[int, ...] = ()) -> Function:  # noqa: ARG002
        """Traced and fused at its first call: MLX has no compilation ahead of time, and gives memory on by itself."""
        compiled: Function = mx.compile(function)
        return compiled

    def shapes(self, function: Function, *examples: Any) -> Any:
        """A graph that is not computed."""
        return function(*examples)

    def with_gradient(self, function: Function) -> Function:
        """The function and its gradient with respect to the first argument."""
        both: Function = mx.value_and_grad(function)
        return both

    def send_home(self, results: list[Array]) -> list[Array]:
        """Nothing: MLX knows no copy that goes on by itself."""
        return results

    def wait(self, *results: Any) -> None:
        """Compute what is still a graph."""
        mx.eval(*results)

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """MLX's failed allocations are `out_of_memory`."""
        try:
            yield
        except RuntimeError as error:
            if "allocate" in str(error):
                raise RunnerError("out_of_memory", str(error).splitlines()[0]) from error
            raise

    def device_name(self) -> str | None:
        """What the driver calls a device of its own, where MLX tells."""
        if not self.separate:
            return None
        facts = mx.device_info() if hasattr(mx, "device_info") else {}
        return str(facts.get("device_name", "GPU"))

    def device_bytes(self) -> int | None:
        """The peak on a device of its own."""
        return int(mx.get_peak_memory()) if self.separate else None
