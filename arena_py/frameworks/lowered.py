"""PyTorch on the CPU in a lower precision: what the gate's limits for that precision are made from.

`bf16` is torch's own bfloat16. `tf32` is float32 whose matrix products and convolutions round what they read to TF32's
10 bits of fraction, forward and backward, and add up in float32: what a GPU's matrix units do, on any machine. Nothing
here is ever measured or ranked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arena_py.frameworks.pytorch import PyTorch, TorchModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.contract.adapter import LoadSpec, Output, Parameters, Program, Tensors
    from arena_py.contract.messages import BoundaryName, TaskName, TaskOptions

PRECISIONS = ["tf32", "bf16"]


class Lowered(PyTorch):
    """The framework `lowered`."""

    name = "lowered"

    def _backends(self) -> dict[str, str]:
        return {"cpu": super()._backends()["cpu"]}

    def precisions(self, backend: str) -> list[str]:  # noqa: ARG002 (there is one backend)
        """Those that are lower than float32."""
        return PRECISIONS

    def load(self, spec: LoadSpec) -> TorchModel | RoundedModel:  # type: ignore[override]  # both are models
        """The canonical module in the precision.

        Raises:
            RunnerError: as PyTorch's own.
        """
        if spec.precision != "tf32":
            return super().load(spec)
        return RoundedModel(PyTorch().load(replace(spec, precision="f32")))


class RoundedModel:
    """A float32 module whose programs round the operands of products."""

    def __init__(self, model: TorchModel) -> None:
        self._model = model

    @property
    def parameters(self) -> Parameters:
        """Its size."""
        return self._model.parameters

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """The task as a program.

        Raises:
            RunnerError: as PyTorch's own.
        """
        return RoundedProgram(self._model.prepare(task, options, inputs))


class RoundedProgram:
    """Executes with rounded operands."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def bind(self, inputs: Tensors) -> None:
        """Take other input values."""
        self._program.bind(inputs)

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once."""
        from arena_py.frameworks import rounding  # noqa: PLC0415 (needs torch)

        with rounding.Rounded(rounding.to_tf32, results=False):
            return self._program.execute(boundary)

    def outputs(self) -> Iterator[Output]:
        """What the latest execution left."""
        return self._program.outputs()
