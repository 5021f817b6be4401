"""The canonical implementation at work: PyTorch in float64 for the reference, in float32 and lower for its noise.

All are runners behind the contract. Their processes are kept while they are used: starting torch takes seconds.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Literal

from arena_py import places, scratch
from arena_py.build import python_of
from arena_py.contract.session import RunnerFailed, RunnerRefused, Session
from arena_py.errors import ArenaError
from arena_py.verify import generate
from arena_py.verify.exercise import Exercise

TIMEOUT_S = 3600.0
HINTS = {
    "invalid_weights": "the weights must hold every parameter of the model, by the public checkpoint's names",
    "unsupported": "check the model's manifest: `config` holds the public configuration's own keys",
    "invalid_inputs": "check the sizes of the shape in the model's manifest",
}


class Canon:
    """Runs exercises in PyTorch's environment; a context manager that ends its processes.

    Args:
        threads: CPU threads of either.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._sessions: dict[str, Session] = {}
        self._folders = contextlib.ExitStack()

    def __enter__(self) -> Canon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def rest(self) -> None:
        """End the processes; they come back when they are needed. Nothing else may run while something is timed."""
        generate.rest()
        self._sessions.clear()
        self._folders.close()

    def run(self, runner: Literal["reference", "pytorch", "lowered"], exercise: Exercise, output: Path) -> list[float]:
        """The whole exercise, its outputs written to `output`; the loss curve of a `step`.

        Raises:
            ArenaError: the weights or the configuration are not the model's, or the run failed.
        """
        try:
            return exercise.whole(self._session(runner), output)
        except RunnerFailed as error:
            self.rest()
            if isinstance(error, RunnerRefused) and error.code in HINTS:
                raise ArenaError(f"{exercise.weights}: {error.message}", hint=HINTS[error.code]) from error
            raise ArenaError(f"the {runner} run failed: {error.reason}", exit_code=1) from error

    def _session(self, runner: str) -> Session:
        if runner not in self._sessions:
            command = [str(python_of("pytorch")), str(places.PACKAGE / "worker.py"), runner]
            folder = self._folders.enter_context(scratch.folder())
            timeouts_s = dict.fromkeys(("ready", "load", "prepare", "run", "outputs"), TIMEOUT_S)
            session = Session(command, scratch=folder, threads=self._threads, timeouts_s=timeouts_s)
            self._sessions[runner] = self._folders.enter_context(session)
        return self._sessions[runner]
