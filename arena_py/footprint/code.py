"""The share of each crate in the code of an executable, from the names of its functions.

A function counts for the crate that wrote it, not for the one that it was instantiated in: a `Vec<Tensor>::push` is
`alloc`'s. Names are read as rustc mangles them: legacy (`_ZN4core3fmt...`) and v0 (RFC 2603, `_RNvNtCs..._4core...`).
What link-time optimisation put into a caller counts for the caller, as in every such table (cargo-bloat's, too).
"""

from __future__ import annotations

import re
from collections import Counter

from arena_py.footprint.document import CrateShare
from arena_py.footprint.elf import Elf

FOREIGN = "(not rust)"
"""C, assembly, and the compiler's own helpers."""
UNNAMED = "(no symbol)"
"""Code outside every function: padding, stubs of the linker."""
V0_CRATE = re.compile(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?")
LEGACY = re.compile(r"_ZN(\d+)")
ESCAPES = {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$BP$": "*", "$LP$": "(", "$RP$": ")", "$C$": ",", "$SP$": "@"}
UNICODE = re.compile(r"\$u([0-9a-f]+)\$")
PATH = re.compile(r"([A-Za-z_]\w*)::")


def shares(elf: Elf) -> list[CrateShare]:
    """The crates of an executable that was read with its symbols, the largest first; together all of its code."""
    sizes: Counter[str] = Counter()
    for name, size in elf.symbols:
        sizes[crate_of(name)] += size
    if (rest := elf.code_bytes - sizes.total()) > 0:
        sizes[UNNAMED] = rest
    total = max(elf.code_bytes, sizes.total())
    return [CrateShare(crate=crate, bytes=size, share=size / total) for crate, size in sizes.most_common()]


def crate_of(symbol: str) -> str:
    """The crate that wrote a function."""
    if symbol.startswith("_R"):
        return _v0(symbol)
    match = LEGACY.match(symbol)
    # C++ mangles alike; only Rust ends with a hash of 16 digits.
    if match is None or not re.search(r"17h[0-9a-f]{16}E", symbol):
        return FOREIGN
    return _legacy(symbol[match.end() : match.end() + int(match[1])])


def _v0(symbol: str) -> str:
    match = V0_CRATE.search(symbol)
    if match is None:
        return FOREIGN
    return symbol[match.end() : match.end() + int(match[1])] or FOREIGN


def _legacy(first: str) -> str:
    """The crate of the first part of a path: its name, or a type with the trait that it implements."""
    plain = first.replace("..", "::")
    for escape, character in ESCAPES.items():
        plain = plain.replace(escape, character)
    plain = UNICODE.sub(lambda match: chr(int(match[1], 16)), plain)
    if "<" not in plain:
        return plain
    own, _, trait = plain.partition(" as ")
    for part in (own, trait):
        # `<T as core::fmt::Debug>` has no crate in its type: it is the trait's.
        if match := PATH.search(part):
            return match[1]
    return "core"
