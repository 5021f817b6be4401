"""Folders and files in the making: locked by who makes them, so that those of a driver that was killed can be told.

The lock (`flock`) is on the folder or file itself and dies with its holder; `leftovers.py` removes what nobody holds.
On Windows nothing is locked, and nothing is ever taken for left over.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arena_py import places

FOLDER = "scratch"
UNLOCKED = -1
"""Instead of a descriptor, where the system or the file system knows no such locks."""


@contextlib.contextmanager
def folder(parent: Path | None = None, prefix: str = "") -> Iterator[Path]:
    """A new folder that goes with the block, whatever was written into it; unless it was given another name.

    Args:
        parent: where; `artifacts/scratch` when absent.
        prefix: of its name.

    Raises:
        OSError: it cannot be made.
    """
    parent = parent or places.artifacts() / FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        with tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True) as name:
            held = _held(Path(name))
            if held is None:
                continue  # taken for left over in the moment before it was locked
            try:
                yield Path(name)
            finally:
                _let_go(held)
            return


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """An empty file beside `path` that takes its name when the block ends well, and goes when it does not.

    Whoever looks sees the old content or the new, whole, even after a crash of the machine.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    scratch, held = _file_beside(path)
    try:
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        # `mkstemp` makes it readable by its owner alone.
        scratch.chmod(mode)
        scratch.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
    finally:
        _let_go(held)
    settle(path.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all (`replacing`).

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def _file_beside(path: Path) -> tuple[Path, int]:
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(descriptor)
        if (held := _held(Path(name))) is not None:
            return Path(name), held


def _let_go(held: int) -> None:
    if held != UNLOCKED:
        os.close(held)


def settle(folder: Path) -> None:
    """Have the system write the names in a folder to the disk."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "win32":

    def _lock(_path: Path) -> int:
        raise OSError
else:
    import fcntl

    def _lock(path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                return descriptor
            raise FileNotFoundError(path)
        except BaseException:
            os.close(descriptor)
            raise


def _held(path: Path) -> int | None:
    """Lock what was just made; none when somebody removed it, or is about to."""
    try:
        return _lock(path)
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError:
        return UNLOCKED


@contextlib.contextmanager
def nobodys(path: Path) -> Iterator[bool]:
    """Whether nobody holds a folder or file any more; nobody else takes it meanwhile."""
    try:
        held = _lock(path)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(held)
