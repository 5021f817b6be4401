"""What the rules of the contract are tried with: one session, a golden case, and requests that may break every type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from arena_py.contract import messages as m
from arena_py.contract.session import Session
from arena_py.contract.tensors import TensorFile, write_tensors
from arena_py.verify.conformance import Target
from arena_py.verify.golden import GoldenCase

Array: TypeAlias = np.ndarray[Any, Any]
Change: TypeAlias = Callable[[Array], Array | None]
"""What becomes of a tensor; `None` takes it away."""


class Broken(Exception):
    """A rule of the contract was broken; the message says how."""


class Kit:
    """One session with one loaded golden case, and requests to send at it."""

    def __init__(self, target: Target, case: GoldenCase, session: Session, scratch: Path) -> None:
        self.target = target
        self.case = case
        self.session = session
        self.scratch = scratch
        self._id = 1000

    def raw(self, line: bytes, op: str = "request") -> m.Answer:
        """One raw line, one answer."""
        return self.session.exchange(line, op=op)

    def ask(self, op: str, **fields: Any) -> m.Answer:
        """A request as a JSON object, which may break every type of the contract."""
        self._id += 1
        answer = self.raw(json.dumps({"id": self._id, "op": op, **fields}).encode(), op)
        if answer.id != self._id:
            raise Broken(f"{op}: answer has id {answer.id}, the request had {self._id}")
        return answer

    def load(self, **changes: Any) -> m.Answer:
        """A `load` of the case, with changes."""
        fields: dict[str, Any] = {
            "model": {"architecture": self.case.model.architecture, "config": self.case.model.config},
            "weights": str(self.case.weights),
            "backend": self.target.backend,
            "precision": self.target.precision,
            "threads": self.target.threads,
        }
        return self.ask("load", **(fields | changes))

    def prepare(self, inputs: Path | None = None, task: str = "infer", **fields: Any) -> m.Answer:
        """A `prepare` of the case."""
        return self.ask("prepare", task=task, inputs=str(inputs or self.case.inputs), options=fields)

    def weights(self, name: str, change: Change) -> Path:
        """The case's weights with one tensor changed."""
        return self._changed(self.case.weights, name, change)

    def inputs(self, name: str, change: Change) -> Path:
        """The case's inputs with one tensor changed."""
        return self._changed(self.case.inputs, name, change)

    def _changed(self, path: Path, name: str, change: Change) -> Path:
        with TensorFile(path) as file:
            arrays = {tensor: file.read(tensor) for tensor in file.tensors}
        changed = change(arrays.pop(name, np.zeros(3, np.float32)))
        self._id += 1
        target = self.scratch / f"{path.stem}-{self._id}.safetensors"
        write_tensors(target, arrays if changed is None else arrays | {name: changed})
        return target


def expect(answer: m.Answer, *codes: str, naming: str | None = None) -> None:
    """Check that an answer is an error with one of these codes, whose message names something."""
    if answer.error is None:
        raise Broken(f"answered ok, expected error {' or '.join(codes)}")
    if answer.error.code not in codes:
        raise Broken(f"answered {answer.error.code} ({answer.error.message}), expected {' or '.join(codes)}")
    if naming is not None and naming not in answer.error.message:
        raise Broken(f"{answer.error.code}: the message does not name {naming}: {answer.error.message}")


def expect_ok(answer: m.Answer, type_: type[msgspec.Struct]) -> Any:
    """Check that an answer is ok and of its type."""
    if answer.error is not None:
        raise Broken(f"answered {answer.error.code}: {answer.error.message}")
    try:
        return msgspec.convert(answer.ok, type_, strict=True)
    except msgspec.MsgspecError as error:
        raise Broken(f"answer is not as in the contract: {error}") from error
