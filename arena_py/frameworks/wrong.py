"""PyTorch with one mistake: the runner `wrong`, which the gate must never let pass.

Its backends are the mistakes of `frameworks/defects.py` by name, and `cpu`, which has none: what is wrong in the others
is then their mistake, not this runner. Nothing here is ever measured or ranked; `verify --self-test` runs it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arena_py.frameworks.defects import DEFECTS
from arena_py.frameworks.pytorch import PyTorch, TorchModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.contract.adapter import LoadSpec, Output, Parameters, Program, Tensors
    from arena_py.contract.messages import BoundaryName, TaskName, TaskOptions
    from arena_py.frameworks.change import Change


class Wrong(PyTorch):
    """The framework `wrong`."""

    name = "wrong"

    def _backends(self) -> dict[str, str]:
        return {"cpu": super()._backends()["cpu"], **{name: defect.what for name, defect in DEFECTS.items()}}

    def load(self, spec: LoadSpec) -> TorchModel | WrongModel:  # type: ignore[override]  # both are models
        """The canonical module, with the mistake in it.

        Raises:
            RunnerError: as PyTorch's own.
        """
        if spec.backend not in DEFECTS:
            return super().load(spec)
        from arena_py.frameworks.forward_changes import FORWARD_CHANGES  # noqa: PLC0415 (needs torch)
        from arena_py.frameworks.training_changes import TRAINING_CHANGES  # noqa: PLC0415 (as above)

        change = (FORWARD_CHANGES | TRAINING_CHANGES)[spec.backend]()
        with change.scope():
            model = super().load(replace(spec, backend="cpu"))
        change.model(model)
        return WrongModel(model, change)


class WrongModel:
    """A model that has the mistake, or whose programs do."""

    def __init__(self, model: TorchModel, change: Change) -> None:
        self._model = model
        self._change = change

    @property
    def parameters(self) -> Parameters:
        """Its size."""
        return self._model.parameters

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """The task as a program.

        Raises:
            RunnerError: as PyTorch's own.
        """
        program = self._model.prepare(task, options, inputs)
        return WrongProgram(self._change.program(program), self._change)


class WrongProgram:
    """Executes within the scope of the mistake."""

    def __init__(self, program: Program, change: Change) -> None:
        self._program = program
        self._change = change

    def bind(self, inputs: Tensors) -> None:
        """Take other input values."""
        self._program.bind(inputs)

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once."""
        with self._change.scope():
            return self._program.execute(boundary)

    def outputs(self) -> Iterator[Output]:
        """What the latest execution left."""
        return self._program.outputs()
