"""The Python that an environment was made from: its executable, libpython and the standard library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from arena_py.build import process
from arena_py.footprint.document import Runtime

ASKED = """
import json, os, sys, sysconfig
name = sysconfig.get_config_var("INSTSONAME") or ""
folder = sysconfig.get_config_var("LIBDIR") or ""
library = os.path.join(folder, name)
print(json.dumps({
    "version": ".".join(map(str, sys.version_info[:3])),
    "executable": os.path.realpath(sys.executable),
    "library": library if ".so" in name or ".dylib" in name else None,
    "prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib"),
    "platstdlib": sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
}))
"""
LEFT_OUT = frozenset({"site-packages", "dist-packages"})


class _Told(msgspec.Struct, frozen=True):
    version: str
    executable: str
    library: str | None
    prefix: str
    stdlib: str
    platstdlib: str


@dataclass(frozen=True)
class Python:
    """Where the parts of a Python are."""

    version: str
    prefix: Path
    executable: Path
    library: Path | None
    stdlib: tuple[Path, ...]
    """Its folders, one inside the other left out."""

    def files(self) -> dict[Path, int]:
        """Every file of it with its bytes: executable, libpython, standard library."""
        found = {path: path.stat().st_size for path in (self.executable, self.library) if path and path.is_file()}
        for folder in self.stdlib:
            for parent, folders, names in os.walk(folder):
                folders[:] = [name for name in folders if name not in LEFT_OUT]
                paths = (Path(parent) / name for name in names)
                found |= {path: path.stat().st_size for path in paths if path.is_file() and not path.is_symlink()}
        return found

    def measured(self, opened: Iterable[Path] | None) -> Runtime:
        """Its sizes, and of what was opened."""
        files = self.files()
        own = [path for path in (self.executable, self.library) if path]
        library = files.get(self.library, 0) if self.library else 0
        taken = None if opened is None else {real for path in opened if (real := _real(path)) in files}
        return Runtime(
            version=self.version,
            executable_bytes=files.get(self.executable, 0),
            library_bytes=library,
            stdlib_bytes=sum(size for path, size in files.items() if path not in own),
            opened_bytes=None if taken is None else sum(files[path] for path in taken),
            opened_files=None if taken is None else len(taken),
        )


def of(interpreter: Path) -> Python | None:
    """The Python behind an environment's interpreter; none when it does not start."""
    said = process.output([str(interpreter), "-I", "-c", ASKED])
    try:
        told = msgspec.json.decode(said or "", type=_Told)
    except msgspec.MsgspecError:
        return None
    folders = [_real(Path(each)) for each in dict.fromkeys([told.stdlib, told.platstdlib])]
    inside = [each for each in folders if not any(other != each and each.is_relative_to(other) for other in folders)]
    return Python(
        version=told.version,
        prefix=_real(Path(told.prefix)),
        executable=Path(told.executable),
        library=_real(Path(told.library)) if told.library and Path(told.library).exists() else None,
        stdlib=tuple(dict.fromkeys(inside)),
    )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
