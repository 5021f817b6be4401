"""What the tasks need of a framework besides operations: memory, compilation, gradients, waiting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from arena_py.frameworks.arrays.ops import Array, Ops

Function = Callable[..., Any]
"""A pure function of arrays, and of lists and dictionaries of them."""


class Engine(Protocol):
    """A framework on one device."""

    ops: Ops
    separate: bool
    """Whether the device's memory is not the host's, so that the boundaries of a sample differ."""

    def use(self, precision: str) -> None:
        """Compute in this precision, one of `ArrayFramework.precisions`, from now on."""

    def put(self, values: np.ndarray[Any, Any]) -> Array:
        """An array on the device; ids become int32."""

    def get(self, values: Array) -> np.ndarray[Any, Any]:
        """An array on the host."""

    def compile(self, function: Function, *examples: Any, donated: tuple[int, ...] = ()) -> Function:
        """The function for arguments like the examples.

        Args:
            function: to compile.
            examples: arguments whose types and shapes count.
            donated: the arguments whose memory the results may take: they are not used again.
        """

    def shapes(self, function: Function, *examples: Any) -> Any:
        """What the function returns for arguments like the examples, as an example for another `compile`."""

    def with_gradient(self, function: Function) -> Function:
        """The function and its gradient with respect to the first argument."""

    def send_home(self, results: list[Array]) -> list[Array]:
        """Begin to copy arrays to the host, all of them, before the first is waited for; what `get` then takes."""

    def wait(self, *results: Any) -> None:
        """Return when the results are computed."""

    def device_name(self) -> str | None:
        """What the driver calls a device of its own."""

    def device_bytes(self) -> int | None:
        """The peak of the memory of a device of its own."""

    def memory_errors(self) -> AbstractContextManager[None]:
        """Tell the framework's ways of saying that memory is short from its other errors."""
