"""Files that are made once, written whole, and known by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arena_py.errors import ArenaError


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


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A scratch folder beside `target` that takes its name when the block ends well, and vanishes when it does not.

    Raises:
        ArenaError: nothing can be written there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ArenaError(
            f"{target.parent}: cannot be written: {error.strerror}",
            hint="set ARENA_ARTIFACTS to a folder with room",
            exit_code=1,
        ) from error
    try:
        yield scratch
        for path in scratch.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
