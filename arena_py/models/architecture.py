"""What an architecture with a configuration gives: a module, its inputs, its forward pass and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from arena_py.contract.messages import TaskName
    from arena_py.models.inputs import InputSpec
    from arena_py.models.seeded import Distribution

    Batch = Mapping[str, torch.Tensor]


class Architecture(Protocol):
    """An architecture with a configuration that was checked."""

    name: str
    """`llama`."""
    output: str
    """The name of the output of `infer`: `logits`."""
    inputs: Sequence[InputSpec]
    """The inputs of every task."""
    frozen: frozenset[str]
    """The parameters that are not trained."""

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """All sizes of the inputs from those that a case names, the others by their defaults.

        Raises:
            RunnerError: `invalid_inputs` for a size that is missing, unknown or not possible here.
        """

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Check what no single input shows: that the sizes suit each other and the task.

        Raises:
            RunnerError: `invalid_inputs` when they do not.
        """

    def build(self) -> torch.nn.Module:
        """The module on torch's current default device, in evaluation mode."""

    def complete(self, module: torch.nn.Module, *, exact: bool) -> None:
        """Make what no checkpoint stores, such as the frequencies of rotary angles, on the CPU.

        Args:
            module: what `build` returned, with its parameters loaded.
            exact: for the float64 reference: in float64 also what the libraries compute in float32, such as angles.
        """

    def forward(self, module: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """The output of `infer`."""

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """The loss of `train`, a scalar in the type of `output`."""

    def distribution(self, name: str, shape: tuple[int, ...]) -> Distribution:
        """How the seeded values of a stored tensor are drawn."""


@runtime_checkable
class Decoder(Protocol):
    """An architecture that generates tokens."""

    def decode(
        self, module: torch.nn.Module, inputs: Batch, new_tokens: int, on_first: Callable[[], None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Greedy generation with a key/value cache: tokens i64 [B, N] and the logits [B, N, V] that chose them.

        `on_first` is called when the first new token is known.
        """
