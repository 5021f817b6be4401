"""Files that are made once, written whole, and known by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from arena_py import scratch
from arena_py.errors import ArenaError
from arena_py.locking import aloud, held

T = TypeVar("T")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        ArenaError: it cannot be read.
    """
    digest = hashlib.sha256()
    block = memoryview(bytearray(1 << 20))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(block[:count])
    except OSError as error:
        raise ArenaError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def made_once(
    target: Path, kept: Callable[[], T | None], make: Callable[[Path], T], note: Callable[[str], None] = aloud
) -> T:
    """What is kept in `target`, made when it is not there or not whole; where several want it, one makes it.

    Args:
        target: a folder.
        kept: what is there, by its content; none when it cannot be trusted.
        make: writes all of it into the folder that it is given.
        note: told which process is waited for.

    Raises:
        ArenaError: nothing can be written there.
    """
    if (found := kept()) is not None:
        return found
    lock = f".{target.name}.lock"
    with held(target.parent, name=lock, doing=f"making {target}", note=note):
        # Another process may have made it while this one waited for the lock.
        if (found := kept()) is not None:
            return found
        with whole_folder(target) as folder:
            return make(folder)


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A scratch folder beside `target` that takes its name when the block ends well, and vanishes when it does not.

    Raises:
        ArenaError: nothing can be written there.
    """
    with contextlib.ExitStack() as made:
        try:
            folder = made.enter_context(scratch.folder(target.parent, f".{target.name}-"))
        except OSError as error:
            raise ArenaError(
                f"{target.parent}: cannot be written: {error.strerror}",
                hint="set ARENA_ARTIFACTS to a folder with room",
                exit_code=1,
            ) from error
        yield folder
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        scratch.settle(folder)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
        scratch.settle(target.parent)
