"""What drivers that were killed left in `artifacts/`: known by locks that died with them, and removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from arena_py import locking, places, scratch
from arena_py.contract import containment

FOLDERS = ("scratch/*", "weights/.*-*", "reference/.*-*", "graphs/.*-*")
"""Where folders are in the making, by their names."""
FILES = (".", "bin", "env/*", "flops", "results/*", "baselines/*")
"""Folders in which files are in the making."""
IN_THE_MAKING = re.compile(r"\..+\.[a-z0-9_]{8}")
LOCKS = ("weights/.*.lock", "reference/.*.lock", "graphs/.*.lock", "results/*/.run.lock")


def sweep() -> list[Path]:
    """Remove folders, files and locks that nobody holds, and end the runners that still work in them.

    Returns:
        What was removed.
    """
    artifacts = places.artifacts()
    removed = [path for path in _found(artifacts, *FOLDERS) if path.is_dir() and _remove_folder(path)]
    for folder in _found(artifacts, *FILES):
        with contextlib.suppress(OSError):
            halves = [path for path in folder.iterdir() if IN_THE_MAKING.fullmatch(path.name)]
            removed += [path for path in halves if path.is_file() and _remove_file(path)]
    return removed + [path for path in _found(artifacts, *LOCKS) if locking.abandoned(path)]


def _found(artifacts: Path, *patterns: str) -> Iterator[Path]:
    """What a pattern names, without following links: what they lead to is somebody else's."""
    for pattern in patterns:
        with contextlib.suppress(OSError):
            for path in [artifacts] if pattern == "." else sorted(artifacts.glob(pattern)):
                if not any(each.is_symlink() for each in (path, *path.parents) if artifacts in each.parents):
                    yield path


def _remove_folder(path: Path) -> bool:
    with scratch.nobodys(path) as free:
        if free:
            for process in containment.marked_below(path):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            for parent, names, _ in os.walk(path):
                for child in (Path(parent) / name for name in names):
                    # A runner may have locked what it made; links are left alone.
                    if not child.is_symlink():
                        with contextlib.suppress(OSError):
                            child.chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        return free


def _remove_file(path: Path) -> bool:
    with scratch.nobodys(path) as free:
        if free:
            path.unlink(missing_ok=True)
        return free
