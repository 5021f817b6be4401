"""The distributions of a Python environment: whose each file is, by RECORD, and who needs whom, by METADATA.

RECORD is that of the packaging specifications ("Recording installed projects"); what was compiled from a recorded
module after its installation belongs to whom the module belongs to.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path

from arena_py.footprint.document import Role
from arena_py.footprint.elf import Unreadable

RUNNER_NEEDS = frozenset({"msgspec", "numpy", "safetensors"})
"""What Arena's own part of a runner imports."""
COMPILED = re.compile(r"(?P<stem>[^.]+)\.[\w-]+(?:\.opt-[12])?\.pyc")
MAX_LICENCE = 60
"""Longer than any name of a licence: some write its whole text there."""


@dataclass(frozen=True)
class Installed:
    """One `NAME-VERSION.dist-info`."""

    name: str
    """Normalised."""
    version: str
    licence: str | None
    requires: tuple[str, ...]
    """`Requires-Dist`, as it is written."""
    recorded: bool
    files: frozenset[Path] = field(repr=False)
    """Absolute, by RECORD."""


@dataclass(frozen=True)
class Contents:
    """An environment taken apart."""

    folder: Path
    site: Path
    installed: dict[str, Installed]
    sizes: dict[Path, int]
    """Of every regular file below the folder; one that is there under several names has its bytes at one of them."""
    owners: dict[Path, str]
    """The distribution of a file, for those that have one."""

    def bytes_of(self, paths: Iterable[Path]) -> int:
        """The bytes of files of this environment."""
        return sum(self.sizes.get(path, 0) for path in paths)

    def files_of(self, name: str) -> list[Path]:
        """The files of a distribution."""
        return [path for path, owner in self.owners.items() if owner == name]


def read(folder: Path) -> Contents:
    """Take an environment apart.

    Raises:
        Unreadable: it is none, or cannot be read.
    """
    folder = folder.absolute()
    try:
        folder.stat()
        site = _site(folder)
        sizes = _sizes(folder)
        infos = sorted(site.glob("*.dist-info"))
        installed = {found.name: found for info in infos if (found := _installed(info, site))}
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from error
    return Contents(folder, site, installed, sizes, _owners(installed, sizes))


def normal(name: str) -> str:
    """The name of a distribution in the one spelling that compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def roles(requirements: list[str], installed: Mapping[str, Installed], python: str) -> dict[str, Role]:
    """What each distribution is there for.

    Args:
        requirements: of the manifest, the framework's own first.
        installed: by name.
        python: the version of the environment's Python, for markers.
    """
    framework = closure(requirements[:1], installed, python)
    runner = closure([each for each in requirements if _name(each) in RUNNER_NEEDS], installed, python)
    return {name: "framework" if name in framework else "runner" if name in runner else "models" for name in installed}


def closure(requirements: Iterable[str], installed: Mapping[str, Installed], python: str) -> set[str]:
    """The distributions that these requirements need, directly or not, of those that are installed."""
    found: dict[tuple[str, str], None] = dict.fromkeys(_wanted(requirements, installed, python, ""))
    for name, extra in (pending := list(found)):
        for each in _wanted(installed[name].requires, installed, python, extra):
            if each not in found:
                found[each] = None
                pending.append(each)
    return {name for name, _ in found}


def named(requirements: Iterable[str], installed: Mapping[str, Installed], python: str) -> set[str]:
    """The installed distributions that these requirements name themselves."""
    return {name for name, _ in _wanted(requirements, installed, python, "")}


def _wanted(
    requirements: Iterable[str], installed: Mapping[str, Installed], python: str, extra: str
) -> Iterator[tuple[str, str]]:
    """Each named distribution as itself (`""`) and with each extra, where its marker holds for `extra`."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 (only here)

    variables = {"extra": extra, "python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
    for text in requirements:
        try:
            each = Requirement(text)
        except InvalidRequirement:
            continue
        name = normal(each.name)
        if name in installed and (each.marker is None or each.marker.evaluate(variables)):
            yield name, ""
            for chosen in sorted(each.extras):
                yield name, chosen


def _name(requirement: str) -> str:
    return normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def _site(folder: Path) -> Path:
    places = [folder / "Lib" / "site-packages"] if sys.platform == "win32" else []
    places += sorted(folder.glob("lib/python3*/site-packages"))
    if not places:
        raise Unreadable("not a Python environment: it has no lib/python3*/site-packages")
    return places[0]


def _sizes(folder: Path) -> dict[Path, int]:
    """Every regular file, links not followed: a loop of links is a file of no size like any other link."""
    seen: set[tuple[int, int]] = set()
    sizes: dict[Path, int] = {}
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    facts = Path(entry.path).lstat()
                    known = (facts.st_dev, facts.st_ino) in seen
                    seen.add((facts.st_dev, facts.st_ino))
                    sizes[Path(entry.path)] = 0 if known else facts.st_size
    return sizes


def _installed(info: Path, site: Path) -> Installed | None:
    """What a `dist-info` says; none for a folder that holds no metadata."""
    try:
        message = HeaderParser().parsestr((info / "METADATA").read_text("utf-8", "replace"))
    except FileNotFoundError:
        return None
    name, version = message["Name"], message["Version"]
    if not name or not version:
        return None
    files = _recorded(info / "RECORD", site)
    return Installed(
        name=normal(name),
        version=version,
        licence=_licence(message["License-Expression"], message.get_all("Classifier") or [], message["License"] or ""),
        requires=tuple(message.get_all("Requires-Dist") or ()),
        recorded=files is not None,
        files=files or frozenset(),
    )


def _recorded(record: Path, site: Path) -> frozenset[Path] | None:
    try:
        rows = list(csv.reader(io.StringIO(record.read_text("utf-8", "replace"))))
    except (FileNotFoundError, csv.Error):
        return None
    return frozenset(Path(os.path.normpath(site / row[0])) for row in rows if row and row[0])


def _licence(expression: str | None, classifiers: list[str], text: str) -> str | None:
    if expression:
        return expression.strip()
    named = [each.rpartition("::")[2].strip() for each in classifiers if each.startswith("License ::")]
    named = [each for each in named if each != "OSI Approved"]
    short = text.strip()
    if short and len(short) <= MAX_LICENCE and "\n" not in short:
        return short
    return ", ".join(named) or None


def _owners(installed: Mapping[str, Installed], sizes: Mapping[Path, int]) -> dict[Path, str]:
    owners = {path: found.name for found in installed.values() for path in found.files if path in sizes}
    for path in sizes:
        if path in owners or path.parent.name != "__pycache__":
            continue
        match = COMPILED.fullmatch(path.name)
        source = path.parent.parent / f"{match['stem']}.py" if match else None
        if source in owners:
            owners[path] = owners[source]
    return owners
