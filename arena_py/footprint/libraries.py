"""The shared libraries that an executable brings along: found as the dynamic loader finds them, without running it.

The order is that of ld.so(8): DT_RPATH or DT_RUNPATH, LD_LIBRARY_PATH, the loader's cache, the default folders.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from arena_py.footprint import elf
from arena_py.footprint.document import Library
from arena_py.footprint.elf import Elf, Unreadable

CACHE = Path("/etc/ld.so.cache")
MAGIC = b"glibc-ld.so.cache1.1"
HEADER_BYTES, ENTRY_BYTES = 48, 24
DEFAULT_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


def closure(root: Elf) -> list[Library]:
    """Every library that `root` needs, directly or not, in the order of the loader's search; its loader is left out.

    One that is not found, or is for another machine, has neither path nor bytes.
    """
    loader = Path(root.interpreter).name if root.interpreter else None
    found: dict[str, Library] = {}
    pending: list[tuple[Elf, str]] = [(root, name) for name in root.needed]
    for user, name in pending:
        if name in found or name == loader:
            continue
        path = find(name, user, root)
        found[name] = Library(
            name=name,
            path=str(path) if path else None,
            bytes=path.stat().st_size if path else None,
            needed_by=user.path.name,
        )
        if path:
            library = elf.read(path)
            pending += [(library, each) for each in library.needed]
    return list(found.values())


def find(name: str, user: Elf, root: Elf) -> Path | None:
    """Where the loader would find a library that `user` names in a process of `root`."""
    return next((path for path in _candidates(name, user, root) if _fits(path, root)), None)


def _candidates(name: str, user: Elf, root: Elf) -> Iterator[Path]:
    if "/" in name:
        yield Path(name)
        return
    # DT_RPATH of the executable holds for its libraries too; DT_RUNPATH does not, but `$ORIGIN` of one rarely differs.
    chosen = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
    for folder in (*user.run_path, *root.run_path, *chosen):
        yield Path(folder) / name
    if cached := _cached().get(name):
        yield from map(Path, cached)
    for folder in DEFAULT_FOLDERS:
        yield Path(folder) / name


def _fits(path: Path, root: Elf) -> bool:
    try:
        found = elf.read(path)
    except Unreadable:
        return False
    return (found.machine, found.bits) == (root.machine, root.bits)


@cache
def _cached() -> Mapping[str, list[str]]:
    """The loader's cache: the paths of each name; empty where there is none of this format (musl, macOS)."""
    try:
        data = CACHE.read_bytes()
    except OSError:
        return {}
    start = data.find(MAGIC)
    if start < 0:
        return {}
    data = data[start:]
    known: dict[str, list[str]] = {}
    try:
        (count,) = struct.unpack_from("<I", data, len(MAGIC))
        for number in range(count):
            _, key, value, _, capability = struct.unpack_from("<iIIIQ", data, HEADER_BYTES + ENTRY_BYTES * number)
            if not capability:
                known.setdefault(_text(data, key), []).append(_text(data, value))
    except struct.error:
        return {}
    return known


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")
