"""The tools that build: where they are, which version, and how to get one that is missing."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from arena_py.build import process

GET_CARGO = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
GET_UV = "python -m pip install uv"
GET_COMPILER = {
    "darwin": "xcode-select --install",
    "win32": "winget install Microsoft.VisualStudio.2022.BuildTools",
}
CXX_NAMES = ("c++", "g++", "clang++")


def uv() -> str | None:
    """The path of uv: the executable of the `uv` package, else the one on `PATH`."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415 (only where something is built)

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def cargo() -> str | None:
    """The path of cargo: on `PATH`, else where rustup puts it."""
    return _rust_tool("cargo")


def rustc() -> str | None:
    """The compiler that cargo would call: `$RUSTC`, else on `PATH`, else where rustup puts it."""
    return os.environ.get("RUSTC") or _rust_tool("rustc")


def cargo_home() -> Path:
    """Where cargo keeps what it fetched: `$CARGO_HOME`, else `~/.cargo`."""
    return Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo").absolute()


def rustc_version(folder: Path) -> str | None:
    """`rustc 1.95.0 (59807616e 2026-04-14)`: what cargo would use in `folder`; none when there is no rustc."""
    found = rustc()
    said = process.output([found, "-V"], cwd=folder) if found else None
    return said.strip() if said else None


def cxx() -> str | None:
    """The path of the C++ compiler: `$CXX`, else the first of the usual names that is on `PATH`."""
    chosen = (
        [os.environ["CXX"]] if os.environ.get("CXX") else [*CXX_NAMES, *(["cl"] if sys.platform == "win32" else [])]
    )
    return next((path for name in chosen if (path := shutil.which(name))), None)


def get_compiler() -> str:
    """The command that installs compilers."""
    return GET_COMPILER.get(sys.platform, "apt-get install build-essential")


def needed(tool: str) -> str | None:
    """The path of a program that a manifest names: `c++` is any C++ compiler."""
    return cxx() if tool == "c++" else shutil.which(tool)


def get(tool: str) -> str:
    """The command, or the advice, that gets a program which a manifest names."""
    if tool == "c++":
        return get_compiler()
    return f"apt-get install {tool}" if shutil.which("apt-get") else f"install {tool} and put it on PATH"


def version_numbers(text: str) -> tuple[int, ...]:
    """The first dotted number in a text: `rustc 1.95.0 (...)` gives (1, 95, 0); empty when there is none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _rust_tool(name: str) -> str | None:
    if found := shutil.which(name):
        return found
    return shutil.which(name, path=str(cargo_home() / "bin"))
