"""An executable or an environment as the document has it, with what one execution opened of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from arena_py import places
from arena_py.footprint import elf, libraries
from arena_py.footprint.code import shares
from arena_py.footprint.distributions import Contents, Installed, named, roles
from arena_py.footprint.document import (
    Component,
    Distribution,
    Environment,
    Executable,
    Library,
    Opened,
    Runtime,
)
from arena_py.footprint.elf import Elf, Unreadable
from arena_py.footprint.trace import Trace

STRIPPED = "no symbols: it is stripped; `audit --symbols` builds one that is not"


def executable(found: Elf, level: tuple[str, str], symbols: Elf | None = None) -> Executable:
    """What the document says of an ELF file.

    Args:
        found: taken apart, with its symbols where it has some.
        level: of the CPU that it was compiled for, and how that is known.
        symbols: the same program built with its symbols.

    Raises:
        Unreadable: it went away meanwhile.
    """
    named = symbols if symbols and symbols.symbols else found
    code_from = "its own symbols" if named is found else "the same sources built with symbols"
    if named is not found and named.code_bytes != found.code_bytes:
        code_from += f", whose code has {named.code_bytes} bytes instead of {found.code_bytes}"
    try:
        compressed = elf.zstd_bytes(found.path)
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from error
    return Executable(
        machine=found.machine,
        bits=found.bits,
        bytes=found.bytes,
        stripped=found.stripped,
        stripped_bytes=found.stripped_bytes,
        zstd_bytes=compressed,
        sections=list(found.sections),
        linkage=found.linkage,
        interpreter=found.interpreter,
        libraries=libraries.closure(found),
        oldest_glibc=found.oldest_glibc,
        cpu_level=level[0],
        cpu_level_from=level[1],
        code=shares(named) if named.symbols else [],
        code_from=code_from if named.symbols else STRIPPED,
    )


def environment(
    contents: Contents,
    requirements: list[str],
    python: str,
    *,
    runtime: Runtime | None,
    opened: Iterable[Path] | None,
    beside: dict[str, int] | None = None,
) -> Environment:
    """What the document says of an environment.

    Args:
        contents: taken apart.
        requirements: of its manifest; without any, everything in it is the framework's.
        python: the version of its Python.
        runtime: what it was made from.
        opened: files that one execution opened.
        beside: bytes of other environments that it needs.
    """
    played = roles(requirements, contents.installed, python) if requirements else {}
    taken = None if opened is None else [path for path in set(opened) if path in contents.sizes]
    found = []
    for name, each in contents.installed.items():
        files = contents.files_of(name)
        own = None if taken is None else [path for path in taken if contents.owners.get(path) == name]
        found.append(
            Distribution(
                name=name,
                version=each.version,
                role=played.get(name, "framework"),
                bytes=contents.bytes_of(files) if each.recorded else None,
                files=len(files) if each.recorded else None,
                opened_bytes=None if own is None else _bytes(own),
                opened_files=None if own is None else len(own),
            )
        )
    found.sort(key=lambda each: (-(each.bytes or 0), each.name))
    return Environment(
        bytes=sum(contents.sizes.values()),
        files=len(contents.sizes),
        unowned_bytes=sum(size for path, size in contents.sizes.items() if path not in contents.owners),
        framework_bytes=sum(each.bytes or 0 for each in found if each.role == "framework"),
        distributions=found,
        runtime=runtime,
        beside=beside or {},
    )


def components(installed: dict[str, Installed], python: str) -> list[Component]:
    """The distributions for the bill of materials."""
    return [
        Component(
            name=name,
            version=each.version,
            licence=each.licence,
            purl=_purl(each),
            needs=sorted(_purl(installed[other]) for other in named(each.requires, installed, python)),
        )
        for name, each in sorted(installed.items())
    ]


def opened(trace: Trace, known: Iterable[Library], folder: Path | None) -> Opened:
    """What the document says of the files that an execution opened.

    Args:
        trace: what was seen.
        known: libraries of an executable's closure, which are told there.
        folder: of the environment, whose libraries are told by their place in it.
    """
    told = {Path(library.path).resolve() for library in known if library.path}
    found = [path for path in trace.mapped if ".so" in path.name and path.resolve() not in told]
    return Opened(
        how=trace.how,
        files=len(trace.opened),
        bytes=_bytes(trace.opened),
        libraries=[
            Library(name=path.name, path=_shown(path, folder), bytes=path.stat().st_size)
            for path in sorted(found)
            if path.is_file()
        ],
    )


def _shown(path: Path, folder: Path | None) -> str:
    if folder and path.is_relative_to(folder):
        return f"ENV/{path.relative_to(folder).as_posix()}"
    inside = places.artifacts().parent
    return f"ARENA/{path.relative_to(inside).as_posix()}" if path.is_relative_to(inside) else str(path)


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _purl(each: Installed) -> str:
    return f"pkg:pypi/{each.name}@{each.version}"
