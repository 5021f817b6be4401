"""Shared libraries that a runner's manifest names, where they are on this machine.

A dynamic linker looks in the system's folders. CUDA's libraries are as often in Python packages (`nvidia/*/lib`), in
the environment of a framework, or in the toolkit that the runner was built with: those folders are given to the runner
by `LD_LIBRARY_PATH`, the first that has a library.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from arena_py import places
from arena_py.build import cuda_toolkit, process
from arena_py.build.outcome import NotBuilt

VARIABLE = "LD_LIBRARY_PATH"
CACHED = re.compile(r"=>\s*(\S+)\s*$")
LDCONFIG = ("ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig")


@dataclass(frozen=True)
class Libraries:
    """Where the libraries of a runner are."""

    folders: tuple[str, ...] = ()
    """That the dynamic linker has to be told of."""
    missing: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        """The runner's environment variables for it: its folders before the user's own."""
        if not self.folders:
            return {}
        return {VARIABLE: os.pathsep.join([*self.folders, *_told()])}


def find(names: Sequence[str]) -> Libraries:
    """Where libraries of these names (`libcublas.so.13`) are."""
    folders: dict[str, None] = {}
    missing = []
    for name in names:
        if name in _known_to_the_linker() or any((Path(folder) / name).exists() for folder in _told()):
            continue
        place = next((folder for folder in _places() if (folder / name).exists()), None)
        if place is None:
            missing.append(name)
        else:
            folders[str(place)] = None
    return Libraries(tuple(folders), tuple(missing))


def lacking(missing: Sequence[str]) -> NotBuilt:
    """Why a runner cannot start here."""
    driver = any(name.startswith("libcuda.so") for name in missing)
    hint = "install NVIDIA's driver" if driver else "python -m arena_py build fetches the CUDA toolkit, which has them"
    return NotBuilt(f"needs {', '.join(missing)}, and no such library is found", hint=hint, declared=True)


def _told() -> list[str]:
    return [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]


def _places() -> Iterator[Path]:
    """Folders that may have one: the toolkit's, the current interpreter's packages, those of environments."""
    toolkit = cuda_toolkit.find()
    if toolkit is not None:
        yield from (toolkit.home / "lib64", toolkit.home / "lib")
    for entry in sys.path:
        yield from sorted(Path(entry or ".").glob("nvidia/*/lib"))
    yield from sorted((places.artifacts() / "env").glob("*/lib/python*/site-packages/nvidia/*/lib"))
    yield from (Path("/usr/local/nvidia/lib64"), Path("/usr/local/nvidia/lib"))


@cache
def _known_to_the_linker() -> frozenset[str]:
    """The names of the dynamic linker's cache."""
    for program in LDCONFIG:
        if said := process.output([program, "-p"]):
            return frozenset(Path(found.group(1)).name for line in said.splitlines() if (found := CACHED.search(line)))
    return frozenset()
