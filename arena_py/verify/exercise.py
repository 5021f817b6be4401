"""What every runner is put through before its outputs are believed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from arena_py.contract.messages import BoundaryName, Loaded, ModelSpec, Precision, Prepared, TaskName, TaskOptions
from arena_py.contract.session import Session


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """One task on one model's files, for any runner."""

    model: ModelSpec
    weights: Path
    task: TaskName
    options: TaskOptions
    inputs: Path
    """Of `prepare`."""
    bound_inputs: Path
    """Bound afterwards: a cached answer or a skipped computation shows."""
    backend: str = "cpu"
    precision: Precision = "f32"
    boundary: BoundaryName = "host"

    def on(self, backend: str, precision: Precision = "f32", boundary: BoundaryName = "host") -> Exercise:
        """The same on another backend, in another precision or with another boundary."""
        return msgspec.structs.replace(self, backend=backend, precision=precision, boundary=boundary)

    def load(self, session: Session) -> Loaded:
        """Load the weights."""
        return session.load(self.model, self.weights, backend=self.backend, precision=self.precision)

    def prepare(self, session: Session) -> Prepared:
        """Compile and execute once, on the first inputs."""
        return session.prepare(self.task, self.inputs, self.options)

    def rebind(self, session: Session, output: Path) -> None:
        """Bind the other inputs, execute once, and write the outputs, which the gate compares."""
        session.bind(self.bound_inputs)
        session.run(1, self.boundary)
        session.outputs(output)

    def whole(self, session: Session, output: Path) -> None:
        """Load, prepare, rebind. A `step` ends after two steps: one on the first inputs, one on the bound ones."""
        self.load(session)
        self.prepare(session)
        self.rebind(session, output)
