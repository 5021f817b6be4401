"""The oldest processor that an executable runs on, as far as files tell: an x86-64 psABI level, or `unknown`.

What a program does after it has asked the processor (kernels chosen at run time) needs nothing, and is not counted.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from arena_py import places
from arena_py.build import sources
from arena_py.footprint.elf import LEVELS, Elf

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UNKNOWN = "unknown"
NOTE = "its note .note.gnu.property"
TARGET_CPU = re.compile(r"target-cpu=([\w.-]+)")
TARGET_FEATURE = re.compile(r"target-feature=([\w.,+-]*\+(?!crt-static)[\w.,+-]*)")


def of_file(elf: Elf) -> tuple[str, str]:
    """The level of a file that nothing else is known of, and how it is known."""
    return (
        (elf.x86_level, NOTE)
        if elf.x86_level
        else (UNKNOWN, "it has no note of it, and there is no record of its build")
    )


def of_crate(elf: Elf, crate: str) -> tuple[str, str]:
    """The level of a runner's executable: of its note and of what cargo tells rustc, whichever is higher."""
    if elf.machine != "x86_64":
        return UNKNOWN, f"levels are those of x86-64, this is {elf.machine}"
    settings = list(_settings(crate))
    chosen = [match[1] for text in settings for match in TARGET_CPU.finditer(text)]
    features = [match[1] for text in settings for match in TARGET_FEATURE.finditer(text)]
    if features:
        return UNKNOWN, f"cargo's settings ask for target-feature={features[-1]}"
    told = chosen[-1] if chosen else LEVELS[0]
    if told not in LEVELS:
        return UNKNOWN, f"cargo's settings ask for target-cpu={told}"
    how = f"cargo's settings: target-cpu={told}" if chosen else "rustc's default: cargo's settings name no target-cpu"
    level = max(told, elf.x86_level or LEVELS[0], key=LEVELS.index)
    return level, how if level == told else NOTE


def _settings(crate: str) -> Iterator[str]:
    """The flags that cargo hands to rustc, from its files and its variables."""
    for folder in (places.rust_bins(), sources.folder_of(crate)):
        path = folder / ".cargo" / "config.toml"
        if path.is_file():
            yield from _flags(tomllib.loads(path.read_text("utf-8")))
    for name in ("CARGO_BUILD_RUSTFLAGS", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
        yield os.environ.get(name, "")


def _flags(table: dict[str, Any] | list[Any] | Any, *, inside: bool = False) -> Iterator[str]:
    if isinstance(table, dict):
        for key, value in table.items():
            yield from _flags(value, inside=inside or key == "rustflags")
    elif inside:
        yield " ".join(map(str, table)) if isinstance(table, list) else str(table)
