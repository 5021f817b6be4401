"""An ELF file taken apart: sections, how it is linked, what it names, and the oldest system that it runs on.

What a file says of itself is in its headers (`lief`); an x86 level in the note `.note.gnu.property` (the psABI's
`GNU_PROPERTY_X86_ISA_1_NEEDED`), which rustc does not write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_py.footprint.document import Linkage, Section

ZSTD_LEVEL = 19
DROPPED = re.compile(r"\.(symtab|strtab|z?debug_.*|stab.*|gnu_debug.*)")
"""Sections that `strip` removes."""
GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
X86_LEVELS = {"BASELINE": "x86-64", "V2": "x86-64-v2", "V3": "x86-64-v3", "V4": "x86-64-v4"}
LEVELS = tuple(X86_LEVELS.values())
SMALLEST_HEADER_BYTES = 52
"""Of a file for 32 bits."""
EXECUTABLE_CODE = 4
"""`SHF_EXECINSTR`."""


class Unreadable(Exception):
    """A file that cannot be taken apart; the message says why, in the voice of the program."""


@dataclass(frozen=True)
class Elf:
    """What an ELF file says of itself."""

    path: Path
    bytes: int
    machine: str
    bits: int
    kind: str
    """`executable` or `library`."""
    sections: tuple[Section, ...]
    stripped: bool
    stripped_bytes: int
    linkage: Linkage
    interpreter: str | None
    needed: tuple[str, ...]
    run_path: tuple[str, ...]
    """Folders of DT_RUNPATH, else of DT_RPATH, `$ORIGIN` replaced."""
    soname: str | None
    oldest_glibc: str | None
    x86_level: str | None
    """Of its note; none when it has none."""
    code_bytes: int
    """Of executable sections."""
    symbols: tuple[tuple[str, int], ...]
    """Functions with their sizes, by name as the linker has it; empty when it is stripped."""


def read(path: Path, *, symbols: bool = False) -> Elf:
    """Take a file apart.

    Args:
        path: what to read.
        symbols: whether its functions are wanted, too.

    Raises:
        Unreadable: no such file, no permission, no ELF file, or only a part of one.
    """
    import lief  # noqa: PLC0415 (slow: only where a file is taken apart)

    lief.logging.disable()
    try:
        if not path.is_file():
            path.stat()
            raise Unreadable("not a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(4)
            rest = file.read(SMALLEST_HEADER_BYTES - 4)
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from error
    if magic != b"\x7fELF":
        raise Unreadable(f"not an ELF file: {_what(magic)}")
    if len(magic + rest) < SMALLEST_HEADER_BYTES:
        raise Unreadable(f"a truncated ELF file: its header has {SMALLEST_HEADER_BYTES} bytes or more, the file {size}")
    elf: Any = lief.ELF.parse(str(path))
    if elf is None:
        raise Unreadable("an ELF file whose header cannot be read")
    _whole(elf, size)
    sections = tuple(
        Section(
            str(section.name),
            int(section.size),
            section.type != lief.ELF.Section.TYPE.NOBITS,
            bool(int(section.flags) & 2),
        )
        for section in elf.sections
        if section.name
    )
    dropped = sum(section.bytes for section in sections if section.in_file and DROPPED.fullmatch(section.name))
    entries = {entry.tag.name: entry for entry in elf.dynamic_entries}
    return Elf(
        path=path,
        bytes=size,
        machine=elf.header.machine_type.name.lower(),
        bits=64 if elf.header.identity_class == lief.ELF.Header.CLASS.ELF64 else 32,
        kind="library" if "SONAME" in entries and not elf.has_interpreter else "executable",
        sections=sections,
        stripped=not any(section.name == ".symtab" for section in sections),
        stripped_bytes=size - dropped,
        linkage=_linkage(elf),
        interpreter=str(elf.interpreter).rstrip("\0") if elf.has_interpreter else None,
        needed=tuple(map(str, elf.libraries)),
        run_path=_run_path(path, entries),
        soname=str(entries["SONAME"].name) if "SONAME" in entries else None,
        oldest_glibc=_glibc(elf),
        x86_level=_level(elf),
        code_bytes=sum(int(section.size) for section in elf.sections if int(section.flags) & EXECUTABLE_CODE),
        symbols=tuple(_functions(elf)) if symbols else (),
    )


def zstd_bytes(path: Path) -> int:
    """The size of a file compressed by zstd, level 19.

    Raises:
        OSError: it cannot be read.
    """
    import zstandard  # noqa: PLC0415 (only here)

    return len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(path.read_bytes()))


def _what(magic: bytes) -> str:
    if not magic:
        return "it is empty"
    if magic[:2] == b"#!":
        return "a script"
    if magic[:2] == b"MZ":
        return "a Windows executable, which is not read here"
    if magic in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return "a macOS executable, which is not read here"
    return f"it starts with {magic!r}"


def _whole(elf: Any, size: int) -> None:
    """Everything that the headers place must be inside the file."""
    header = elf.header
    ends = {
        "its table of sections": header.section_header_offset + header.numberof_sections * header.section_header_size,
        "its table of segments": header.program_header_offset + header.numberof_segments * header.program_header_size,
    }
    for number, segment in enumerate(elf.segments):
        ends[f"its segment {number}"] = segment.file_offset + segment.physical_size
    what, end = max(ends.items(), key=lambda item: int(item[1]))
    if end > size:
        raise Unreadable(f"a truncated ELF file: {what} ends at byte {end}, the file at {size}")


def _linkage(elf: Any) -> Linkage:
    if elf.has_interpreter or elf.libraries:
        return "dynamic"
    return "static-pie" if elf.header.file_type.name == "DYN" else "static"


def _run_path(path: Path, entries: dict[str, Any]) -> tuple[str, ...]:
    if "RUNPATH" in entries:
        joined = str(entries["RUNPATH"].runpath)
    elif "RPATH" in entries:
        joined = str(entries["RPATH"].rpath)
    else:
        return ()
    origin = str(path.resolve().parent)
    return tuple(each.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for each in joined.split(":") if each)


def _glibc(elf: Any) -> str | None:
    versions = [
        tuple(map(int, match[1].split(".")))
        for needed in elf.symbols_version_requirement
        for symbol in needed.get_auxiliary_symbols()
        if (match := GLIBC.fullmatch(str(symbol.name)))
    ]
    return ".".join(map(str, max(versions))) if versions else None


def _level(elf: Any) -> str | None:
    found = [
        X86_LEVELS[isa.name]
        for note in elf.notes
        for each in getattr(note, "properties", [])
        if type(each).__name__ == "X86ISA"
        for flag, isa in each.values
        if flag.name == "NEEDED" and isa.name in X86_LEVELS
    ]
    return max(found, key=LEVELS.index, default=None)


def _functions(elf: Any) -> list[tuple[str, int]]:
    """Each address once: aliases and folded functions are the same bytes."""
    known: dict[int, tuple[str, int]] = {}
    for symbol in elf.symtab_symbols:
        if symbol.type.name == "FUNC" and symbol.size:
            name, size = str(symbol.name), int(symbol.size)
            if symbol.value not in known or known[symbol.value][1] < size:
                known[symbol.value] = (name, size)
    return list(known.values())
