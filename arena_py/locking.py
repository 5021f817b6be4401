"""One at a time: a lock file that dies with its holder, and names it to whoever waits."""

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
BUILD = ".build.lock"


def aloud(words: str) -> None:
    """Say on standard error who is waited for, where nothing else is shown."""
    sys.stderr.write(words + "\n")


@contextlib.contextmanager
def held(
    folder: Path,
    *,
    note: Callable[[str], None],
    timeout_s: float | None = None,
    name: str = BUILD,
    doing: str | None = None,
) -> Iterator[None]:
    """Hold a lock of the folder; waits for whoever has it and says who that is.

    Args:
        folder: where the lock is; made when it is not there.
        note: told who holds the lock, at once and every 15 s.
        timeout_s: seconds to wait; for ever when none.
        name: of the lock file; any but that of builds is removed when it is let go.
        doing: what its holder does, after `which is`.

    Raises:
        ArenaError: still held after the timeout, or the folder cannot be written.
    """
    path = folder / name
    doing = doing or f"building into {folder}"
    started = time.monotonic()
    reminded = -REMIND_S
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (file := _taken(path)) is None:
            waited = time.monotonic() - started
            holder = _holder(path)
            if timeout_s is not None and waited >= timeout_s:
                raise ArenaError(f"{folder} is locked by {holder}", hint="wait for it, or end it", exit_code=1)
            if waited - reminded >= REMIND_S:
                reminded = waited
                note(f"waiting for {holder}, which is {doing}")
            time.sleep(POLL_S)
    except OSError as error:
        raise ArenaError(
            f"{folder}: cannot be written: {error.strerror}",
            hint="set ARENA_ARTIFACTS to a folder of your own",
            exit_code=1,
        ) from error
    with file:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            if name != BUILD:
                with contextlib.suppress(OSError):
                    path.unlink()
            _release(file)


def abandoned(path: Path) -> bool:
    """Remove a lock file whose holder was killed; whether it was one."""
    try:
        file = _taken(path, make=False)
        if file is None:
            return False
        with file:
            path.unlink()
            _release(file)
    except OSError:
        return False
    return True


def _taken(path: Path, *, make: bool = True) -> IO[bytes] | None:
    """The locked file; none while somebody else has it, or has just removed it."""
    file = path.open("a+b" if make else "r+b")
    try:
        if _try(file) and _is(path, file):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _is(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file is still the one of that name: who let go of it removes it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


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
