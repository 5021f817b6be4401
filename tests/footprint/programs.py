"""Small programs for these tests, compiled where they run, and environments made by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MAIN = "int twice(int); int main(void) { return twice(0); }\n"
TWICE = "int twice(int x) { return 2 * x; }\n"


def tool(name: str) -> str:
    """A program to check against; the tests that need one are for systems that have it."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def run(*command: object) -> str:
    return subprocess.run([str(each) for each in command], check=True, capture_output=True, text=True).stdout


def compiled(folder: Path, name: str, *flags: str) -> Path:
    """A program of two functions."""
    source = folder / f"{name}.c"
    source.write_text(TWICE + MAIN)
    run(tool("cc"), *flags, "-o", folder / name, source)
    return folder / name


def with_library(folder: Path) -> Path:
    """A program that needs a library beside it, found by `$ORIGIN`."""
    (folder / "twice.c").write_text(TWICE)
    (folder / "main.c").write_text(MAIN)
    (folder / "lib").mkdir()
    run(tool("cc"), "-shared", "-fPIC", "-o", folder / "lib/libtwice.so", folder / "twice.c")
    run("cc", "-o", folder / "user", folder / "main.c", f"-L{folder / 'lib'}", "-ltwice", "-Wl,-rpath,$ORIGIN/lib")
    return folder / "user"


def environment(folder: Path, *packages: tuple[str, str, list[str]], record: bool = True) -> Path:
    """An environment of packages (name, version, requirements), a module of 100 bytes and its compiled form each."""
    site = folder / "lib" / "python3.11" / "site-packages"
    for name, version, requires in packages:
        module, info = site / name, site / f"{name}-{version}.dist-info"
        (module / "__pycache__").mkdir(parents=True)
        info.mkdir()
        (module / "__init__.py").write_bytes(b"#" * 100)
        (module / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"c" * 50)
        lines = [f"Name: {name}", f"Version: {version}", "License-Expression: MIT"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires), "", ""]))
        if record:
            files = [f"{name}/__init__.py", f"{info.name}/METADATA", f"{info.name}/RECORD"]
            (info / "RECORD").write_text("".join(f"{each},,\n" for each in files))
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    return folder
