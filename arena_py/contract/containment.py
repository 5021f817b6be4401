"""Whose process is whose: everything that a runner started, also what left its process group, ends with its session.

A runner's processes are its group, its descendants, and whatever carries its mark: the variable `ARENA_SCRATCH` with
the session's own folder, which children inherit. On Linux the driver also adopts orphans (`PR_SET_CHILD_SUBREAPER`), so
that a daemon that cleared its environment becomes a child of the driver instead of nobody's.

This is housekeeping, no sandbox: a runner has the rights of the user who started Arena.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

MARK = "ARENA_SCRATCH"
ROUNDS = 50
ROUND_S = 0.02
PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Become the parent of every orphan among the descendants, where the system can do that."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def marked(*scratch: Path) -> list[psutil.Process]:
    """The living processes that carry the mark of one of these sessions."""
    marks = set(map(str, scratch))
    return [process for process, mark in _marks() if mark in marks]


def marked_below(folder: Path) -> list[psutil.Process]:
    """The living processes that carry the mark of a session whose scratch folder is this one, or below it."""
    return [process for process, mark in _marks() if folder in (Path(mark), *Path(mark).parents)]


def _marks() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK) if process.pid != os.getpid() else None
            if mark and lives(process):
                yield process, mark


def descendants(pid: int) -> list[psutil.Process]:
    """The living processes below `pid`, without itself."""
    with contextlib.suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children(recursive=True) if lives(child)]
    return []


def end(pid: int, scratch: Path, since: float) -> int:
    """Kill a runner and everything that it started.

    Args:
        pid: of the runner, the leader of its process group.
        scratch: its mark.
        since: when it was started, in seconds of the system's clock: an adopted orphan that is older is not its own.

    Returns:
        How many of its processes could not be ended.
    """
    left: list[psutil.Process] = []
    for _ in range(ROUNDS):
        with _starting:
            left = [*descendants(pid), *marked(scratch), *_adopted(since)]
            kill_group(pid)
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        if not left:
            return 0
        _bury(left)
        time.sleep(ROUND_S)
    return len(left)


def kill_group(pid: int) -> None:
    """Kill a process group at once, or where there are none its leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.killpg(pid, signal.SIGKILL)


def start(command: list[str], **settings: Any) -> subprocess.Popen[bytes]:
    """Start a process that leads a session of its own, and remember it: it is the driver's child and no orphan.

    Until it is remembered, and until its program is there with the mark, nothing is ended: the watch of one runner may
    end that in the middle of the start of another one, which would be taken for an orphan.

    Raises:
        OSError: it cannot be started.
    """
    with _starting:
        process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **settings)
        _own.add(process.pid)
    return process


def ended(pid: int) -> None:
    """Forget it."""
    _own.discard(pid)


_own: set[int] = set()
_starting = threading.Lock()


def _adopted(since: float) -> list[psutil.Process]:
    """Orphans that became the driver's children and carry nobody's mark.

    What the driver starts itself is in its own process group, or the runner of a session.
    """
    if sys.platform != "linux":
        return []
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError):
            stranger = child.pid not in _own and os.getpgid(child.pid) != os.getpgrp()
            if stranger and child.create_time() >= since - 1 and MARK not in child.environ() and lives(child):
                found.append(child)
    return found


def _bury(processes: list[psutil.Process]) -> None:
    """Collect adopted processes that ended, so that no zombie stays."""
    for process in processes:
        if sys.platform != "win32" and process.pid not in _own:
            with contextlib.suppress(ChildProcessError, OSError):
                os.waitpid(process.pid, os.WNOHANG)


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; a zombie has.

    Raises:
        psutil.Error: it is gone.
    """
    return bool(process.status() != psutil.STATUS_ZOMBIE)
