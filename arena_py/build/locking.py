"""One build at a time: a lock on the artifacts folder that dies with its holder."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from arena_py.errors import ArenaError

POLL_S = 0.2
REMIND_S = 15.0
LOCK = ".build.lock"


@contextlib.contextmanager
def held(folder: Path, *, note: Callable[[str], None], timeout_s: float | None = None) -> Iterator[None]:
    """Hold the folder's lock; waits for whoever has it and says who that is.

    Args:
        folder: what is locked; made when it is not there.
        note: told who holds the lock, at once and every 15 s.
        timeout_s: seconds to wait; for ever when none.

    Raises:
        ArenaError: still held after the timeout, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise ArenaError(
            f"{folder}: cannot be written: {error.strerror}",
            hint="set ARENA_ARTIFACTS to a folder of your own",
            exit_code=1,
        ) from error
    with file:
        started = time.monotonic()
        reminded = -REMIND_S
        while not _try(file):
            waited = time.monotonic() - started
            holder = _holder(path)
            if timeout_s is not None and waited >= timeout_s:
                raise ArenaError(f"{folder} is locked by {holder}", hint="wait for it, or end it", exit_code=1)
            if waited - reminded >= REMIND_S:
                reminded = waited
                note(f"waiting for {holder}, which is building into {folder}")
            time.sleep(POLL_S)
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            _release(file)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        if (pid := path.read_text(encoding="ascii", errors="replace")).isdigit():
            return f"process {pid}"
    return "another process"


if sys.platform == "win32":
    import msvcrt

    # Far behind the pid, since Windows would not let others read a locked byte.
    _LOCKED_BYTE = 1 << 20

    def _try(file: IO[bytes]) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
