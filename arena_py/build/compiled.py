"""Packages of an environment that are compiled where it is made: what their build is told, needs and shows.

uv keeps what it compiled in its cache, under the package and these settings. Whatever else decides the result must be
one of them, or be kept from the build: the processor's own instructions are the first, `CMAKE_ARGS` the second.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from arena_py.build import process, tools
from arena_py.build.outcome import NotBuilt
from arena_py.manifest import Framework
from arena_py.manifest.framework import Variant

ENVIRONMENT = {"RUST_LOG": "uv_build_frontend=debug", "CMAKE_ARGS": ""}
"""uv passes on what the build prints, and no setting comes from the user's shell unseen."""
CPUINFO = Path("/proc/cpuinfo")
DECISIVE = ("model name", "flags", "Features")
"""Lines of `/proc/cpuinfo` that decide what `-march=native` is."""
COUNTER = re.compile(r"\[(\d+)/(\d+)\]")
"""How Ninja counts."""
RECENT_LINES = 100


def settings(framework: Framework, variant: Variant | None = None) -> Iterator[tuple[str, str, str]]:
    """Package, key and value of every setting, in order."""
    for package, told in sorted(framework.compiling(variant).items()):
        for key, value in sorted(told.items()):
            yield package, key, value.replace("{processor}", processor()) if "{processor}" in value else value


def arguments(framework: Framework, variant: Variant | None = None) -> list[str]:
    """The settings as arguments of uv."""
    return [
        f"--config-settings-package={package}:{key}={value}" for package, key, value in settings(framework, variant)
    ]


def processor() -> str:
    """A short name for what this processor can do, the same wherever a native build would be."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
        first = text.split("\n\n", 1)[0].splitlines()
        facts = [line for line in first if line.partition(":")[0].strip() in DECISIVE]
    except OSError:
        said = process.output(["sysctl", "-n", "machdep.cpu.brand_string"]) if sys.platform == "darwin" else None
        facts = [said or platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *facts]).encode()).hexdigest()[:12]


def obstacle(framework: Framework, variant: Variant | None = None) -> NotBuilt | None:
    """What is missing to compile; none when nothing is to be compiled, or nothing is known to be missing."""
    packages = ", ".join(sorted(framework.compiling(variant)))
    wanted = variant.build_tools if variant else []
    if missing := next((tool for tool in wanted if tools.needed(tool) is None), None):
        return NotBuilt(f"there is no {missing}, {packages} cannot be compiled", hint=tools.get(missing))
    # On Windows CMake finds Visual Studio by itself, on no `PATH`.
    if not packages or sys.platform == "win32" or tools.cxx():
        return None
    return NotBuilt(f"there is no C++ compiler, {packages} cannot be compiled", hint=tools.get_compiler())


def counted(log: Path) -> str | None:
    """How far a compilation is, by the end of uv's log: `39 of 140`; none when nothing is being counted."""
    found = COUNTER.findall("\n".join(process.tail(log, RECENT_LINES)))
    return " of ".join(found[-1]) if found else None
