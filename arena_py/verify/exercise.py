"""What every runner is put through before its outputs are believed."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from arena_py.contract.messages import BoundaryName, Loaded, ModelSpec, Precision, Prepared, TaskName, TaskOptions
from arena_py.contract.session import Session
from arena_py.contract.tensors import scalar


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """One task on one model's files, for any runner."""

    model: ModelSpec
    weights: Path
    task: TaskName
    options: TaskOptions
    inputs: Path
    """Of `prepare`."""
    later_inputs: list[Path]
    """Bound afterwards, one execution each: a cached answer or a skipped computation shows. One file, or for `step` the
    batches of all steps but the first."""
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

    def rebind(self, session: Session, output: Path) -> list[float]:
        """Bind the other inputs, execute once on each, and write the last outputs, which the gate compares.

        Returns:
            The losses, as `follow` tells them.
        """
        curve = self.follow(session, output)
        session.outputs(output)
        return curve

    def follow(self, session: Session, output: Path) -> list[float]:
        """Bind the other inputs, execute once on each.

        Returns:
            For `step` the loss of every step, that of `prepare` first: each before the update it leads to. NaN where
            the runner wrote none. Empty for the other tasks.
        """
        curve = [self._loss(session, output)] if self.task == "step" else []
        for inputs in self.later_inputs:
            session.bind(inputs)
            session.run(1, self.boundary)
            if self.task == "step":
                curve.append(self._loss(session, output))
        return curve

    def whole(self, session: Session, output: Path) -> list[float]:
        """Load, prepare, rebind; the loss curve of a `step`."""
        self.load(session)
        self.prepare(session)
        return self.rebind(session, output)

    def _loss(self, session: Session, output: Path) -> float:
        """The loss of the latest execution, through a file beside `output`."""
        beside = output.with_name(f"{output.stem}-loss.safetensors")
        session.outputs(beside, ["loss"])
        loss = scalar(beside, "loss")
        beside.unlink(missing_ok=True)
        return math.nan if loss is None else loss
