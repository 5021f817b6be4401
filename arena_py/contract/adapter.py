"""What a Python framework implements: a `Framework` loads a `Model`, a model prepares a `Program`, a program executes.

The same three nouns as in the Rust crate `arena-runner`; `contract/server.py` drives them behind the contract, and
`--in-process` drives them in the driver itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from arena_py.contract.messages import (
        BoundaryName,
        Description,
        ErrorCode,
        ModelSpec,
        Precision,
        TaskName,
        TaskOptions,
    )

    Tensors = Mapping[str, np.ndarray[Any, Any]]


class RunnerError(Exception):
    """An answer of the contract: a code of its list and a message, lower case, no full stop."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


@dataclass(frozen=True)
class LoadSpec:
    """What to load, from the `load` request."""

    model: ModelSpec
    weights: Path
    backend: str
    precision: Precision
    threads: int


@dataclass(frozen=True)
class Parameters:
    """Scalar parameters of a loaded model, tied ones once, and the bytes they take."""

    count: int
    bytes: int


@dataclass(frozen=True)
class Output:
    """One output tensor; `read` fetches it when it is written, so that one is in memory at a time."""

    name: str
    read: Callable[[], np.ndarray[Any, Any]]


class Program(Protocol):
    """A task compiled for fixed shapes."""

    def bind(self, inputs: Tensors) -> None:
        """Take other input values of the same names, types and shapes (already checked)."""

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once and return when the work is done; for `decode`, the nanoseconds to the first new token."""

    def outputs(self) -> Iterator[Output]:
        """The outputs of the latest execution under their contract names."""


class Model(Protocol):
    """A loaded model. A `step` program changes its parameters for every later one."""

    @property
    def parameters(self) -> Parameters:
        """Its size."""

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """Compile the task for the shapes of `inputs`, without executing it."""


class Framework(Protocol):
    """A framework behind the contract."""

    def describe(self) -> Description:
        """What it is; touches no device."""

    def load(self, spec: LoadSpec) -> Model:
        """Build the model from the weights file.

        Raises:
            RunnerError: `unsupported`, `invalid_weights`, `device_unavailable` or `out_of_memory`.
        """
