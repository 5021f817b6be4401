"""Processes that go on from case to case, where a suite would rather be quick than start each one anew.

Most of the time of a tiny case is a runner's start: PyTorch imports its libraries for seconds. The contract lets a
runner be loaded again, so one that did what it was asked, and whose backend is `cpu`, may serve the next case.
What it says of its memory begins anew there: where that cannot be had, every launch is a process of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from arena_py import scratch
from arena_py.contract.session import Session

FORGET_PEAK = "5"
"""Written to `/proc/PID/clear_refs` it sets the peak of the resident memory to what is resident now (proc(5))."""


class Kept:
    """At most one idle process of each variant. Use it as a context manager: leaving it ends them all."""

    def __init__(self) -> None:
        self._idle: dict[str, tuple[Session, contextlib.ExitStack]] = {}

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as all_of_them:
            for _session, leave in self._idle.values():
                all_of_them.callback(leave.close)
            self._idle.clear()

    @contextlib.contextmanager
    def session(self, label: str, start: Callable[[Path], Session]) -> Iterator[tuple[Session, bool]]:
        """The idle process of a variant or a new one, and whether it is new; it is kept when it is sound afterwards.

        Args:
            label: the variant's.
            start: starts a process whose working directory it is given.

        Raises:
            RunnerFailed: it cannot be started.
        """
        session, leave = self._taken(label) or (None, contextlib.ExitStack())
        new = session is None
        with leave:
            if session is None:
                session = leave.enter_context(start(leave.enter_context(scratch.folder())))
            yield session, new
            if session.sound and label not in self._idle:
                self._idle[label] = session, leave.pop_all()

    def _taken(self, label: str) -> tuple[Session, contextlib.ExitStack] | None:
        idle = self._idle.pop(label, None)
        if idle is None:
            return None
        session, leave = idle
        if session.sound and forget_peak(session.pid):
            return session, leave
        leave.close()
        return None


def forget_peak(pid: int) -> bool:
    """Make the peak memory of a process what it has now; whether that could be done."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(FORGET_PEAK)
    except OSError:
        return False
    return True
