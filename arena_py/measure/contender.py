"""What takes part in sampling: a variant that can be launched on a case, and one launch of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from arena_py.contract.messages import Description, Loaded, MemoryUse, Prepared, Samples
from arena_py.results.document import Verification


class Process(Protocol):
    """One launch of a runner on the case (`measure/process.py`)."""

    @property
    def startup_ns(self) -> int | None:
        """From spawn to ready; none without a process of its own."""

    @property
    def description(self) -> Description:
        """What it says it is."""

    def load(self) -> Loaded:
        """Load the weights."""

    def prepare(self) -> Prepared:
        """Compile, and execute once."""

    def run(self, iterations: int) -> Samples:
        """Execute, timed."""

    def usage(self) -> MemoryUse | None:
        """Peak memory until now; none without a process of its own."""

    def rebind(self) -> list[float]:
        """Give it other inputs; one that changes itself executes once on each, and these are the losses."""

    def verify(self, curve: list[float]) -> Verification:
        """The gate on what its latest execution computed, which was after `rebind`, and on the losses."""

    def unfinished_ns(self, execution_ns: float) -> int:
        """How much longer its results take than its samples, of this median, say; 0 where that is not sure."""

    def log_tail(self) -> list[str]:
        """The last lines of its log."""


class Contender(Protocol):
    """A variant that can be launched on the case."""

    @property
    def label(self) -> str:
        """`FRAMEWORK:VARIANT`."""

    def launch(self) -> AbstractContextManager[Process]:
        """A fresh process; it dies with the context."""

    @property
    def changes_itself(self) -> bool:
        """Whether its executions change the model, so that only as many as the reference made can be compared."""
