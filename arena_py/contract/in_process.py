"""A Python framework in the driver's own process: the session of a runner, without the runner.

The same adapter objects answer, and the same types go in and out; only the pipe and its JSON are missing. So are a
start-up and a peak memory of its own, time limits, and protection: a framework that crashes takes the driver with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from arena_py.contract import messages as m
from arena_py.contract.adapter import Framework, RunnerError
from arena_py.contract.conditions import settings
from arena_py.contract.responder import Responder
from arena_py.contract.server import unexpected
from arena_py.contract.session import RunnerFailed, RunnerRefused, Session

SCRATCH = "ARENA_SCRATCH"
A = TypeVar("A", bound=msgspec.Struct)


class InProcessSession(Session):
    """A framework that is imported here and asked directly.

    The thread variables and the variant's own stay set in this process: libraries read them when they are imported.

    Args:
        make: imports the framework and makes its adapter.
        scratch: where it may write: `ARENA_SCRATCH` tells it.
        environment: the variant's own variables; `{threads}` is replaced.
        threads: what `load` asks for.

    Raises:
        RunnerFailed: it cannot be imported.
    """

    def __init__(
        self,
        make: Callable[[], Framework],
        *,
        scratch: Path,
        environment: Mapping[str, str] | None = None,
        threads: int = 1,
    ) -> None:
        self.threads = threads
        self.startup_ns = None
        self._next_id = 1
        os.environ.update(settings(threads, environment or {}), **{SCRATCH: str(scratch)})
        try:
            with _output_to_log():
                framework = make()
                self.description = framework.describe()
        except Exception as error:
            raise RunnerFailed("crashed", f"cannot be imported: {error or type(error).__name__}") from error
        self._responder: Responder | None = Responder(framework)

    @property
    def pid(self) -> int:
        """The driver's own."""
        return os.getpid()

    def log_tail(self, lines: int = 20) -> list[str]:  # noqa: ARG002 (the session's own form)
        """Nothing: what a framework prints goes to the driver's standard error."""
        return []

    def usage(self) -> None:
        """Nothing: the driver's memory is not the framework's."""

    def close(self) -> None:
        """Let go of the model."""
        self._responder = None
        gc.unfreeze()  # the driver lives on, and so would whatever of the model is in a cycle

    def shutdown(self) -> int:
        """Let go of the model; there is nothing that ends."""
        self.close()
        return 0

    def end_input(self) -> int:
        """As `shutdown`."""
        return self.shutdown()

    def wait(self, timeout_s: float) -> int:  # noqa: ARG002 (the session's own form)
        """There is nothing to wait for."""
        return 0

    def exchange(self, line: bytes, *, op: str = "request", timeout_s: float | None = None) -> m.Answer:  # noqa: ARG002
        """There is no pipe for raw lines.

        Raises:
            RunnerFailed: always.
        """
        raise RunnerFailed("unsupported", f"{op}: a framework in the driver's process has no pipe for raw lines")

    def _ask(self, request: Any, answer_type: type[A]) -> A:
        op = type(request).__struct_config__.tag
        if self._responder is None:
            raise RunnerFailed("crashed", f"{op}: the session was closed")
        try:
            with _output_to_log():
                answer = self._responder.answer(request)
        except RunnerError as error:
            raise RunnerRefused(op, m.Problem(error.code, error.message)) from error
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            raise RunnerRefused(op, unexpected(error)) from error
        assert isinstance(answer, answer_type)
        return answer


@contextlib.contextmanager
def _output_to_log() -> Iterator[None]:
    """Standard output is the driver's results alone: whatever Python or native code prints goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
