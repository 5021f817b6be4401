"""What an executable or an environment is made of, from a stored audit: the parts that the page draws as a treemap.

A run document knows how many bytes were shipped and nothing more. An audit (`footprint/document.py`) took the same
runners apart; its entry of a label belongs to the run when it is of the very build that the run measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from arena_py.build.record import BuildRecord
from arena_py.footprint.document import Audit, Entry, Environment, Executable
from arena_py.report import text
from arena_py.results.document import Run

CODE = re.compile(r"\.(text|init|fini|plt)(\..*)?")
"""Sections of an executable that hold its functions; the crates stand for them where they are known."""
ROLES = {"framework": "the framework", "models": "for the models", "runner": "for the runner"}


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One rectangle."""

    group: str
    name: str
    bytes: int
    opened_bytes: int | None
    """Of its files that one execution opened; none where that is not known."""


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """One executable or environment, and the variants that need exactly it."""

    labels: list[str]
    bytes: int
    words: list[str]
    """What a reader must know of it, sentence by sentence."""
    same: bool
    """Whether it is the build that the run measured."""
    parts: list[Part]
    """The largest first; together all of `bytes`, but for code that another build named."""


def footprints(run: Run, audits: Sequence[Audit]) -> list[Footprint]:
    """The parts of what the run's variants need, the smallest first; variants of one environment share theirs.

    Args:
        run: whose variants are looked for.
        audits: the newest entry of the run's own build is taken, else the newest of that label.
    """
    found: dict[tuple[bool, tuple[Part, ...]], Footprint] = {}
    newest = sorted(audits, key=lambda audit: audit.started, reverse=True)
    for label, build in _builds(run).items():
        entries = [(entry, audit) for audit in newest for entry in audit.entries if entry.label == label]
        known = [each for each in entries if each[0].executable or each[0].environment]
        if not known:
            continue
        entry, audit = next((each for each in known if _same(build, each[0].build)), known[0])
        made = _footprint(label, entry, audit, same=_same(build, entry.build))
        key = (made.same, tuple(made.parts))
        if key in found:
            shared = found[key]
            made = msgspec.structs.replace(shared, labels=[*shared.labels, *made.labels])
        found[key] = made
    return sorted(found.values(), key=lambda each: (each.bytes, each.labels))


def _builds(run: Run) -> dict[str, BuildRecord | None]:
    """The build of each variant, where any of its cells says it."""
    found: dict[str, BuildRecord | None] = {}
    for cell in run.cells:
        found[cell.label] = found.get(cell.label) or cell.build
    return found


def _same(ours: BuildRecord | None, theirs: BuildRecord | None) -> bool:
    if ours is None or theirs is None:
        return False
    if ours.executable_sha256 or theirs.executable_sha256:
        return ours.executable_sha256 == theirs.executable_sha256
    facts = ("version", "compiler", "lock_sha256", "source_sha256", "bytes", "place", "packages", "torch")
    return all(getattr(ours, fact) == getattr(theirs, fact) for fact in facts)


def _footprint(label: str, entry: Entry, audit: Audit, *, same: bool) -> Footprint:
    parts = [*_of_executable(entry.executable)] if entry.executable else []
    parts += [*_of_environment(entry.environment)] if entry.environment else []
    words = [*_about_executable(entry.executable)] if entry.executable else []
    words += [*_about_environment(entry.environment)] if entry.environment else []
    if entry.opened:
        words.append(
            f"One execution of {audit.model} opened {text.size(entry.opened.bytes)} in {entry.opened.files} files"
        )
    version = f" (version {entry.version})" if entry.version else ""
    told = f"Taken apart by the audit of {audit.started[:10]}{version}"
    words.append(told if same else f"{told}: not the build that this run measured")
    return Footprint(
        labels=[text.plain(label)],
        bytes=entry.shipped_bytes or 0,
        words=[text.plain(each) for each in words],
        same=same,
        parts=sorted(parts, key=lambda part: (-part.bytes, part.group, part.name)),
    )


def _of_executable(found: Executable) -> Iterator[Part]:
    in_file = [section for section in found.sections if section.in_file and section.bytes]
    for crate in found.code:
        yield Part("code by crate", text.plain(crate.crate), crate.bytes, None)
    for section in in_file:
        if not (found.code and CODE.fullmatch(section.name)):
            yield Part("sections", text.plain(section.name), section.bytes, None)
    if (rest := found.bytes - sum(section.bytes for section in in_file)) > 0:
        yield Part("sections", "headers and padding", rest, None)


def _of_environment(found: Environment) -> Iterator[Part]:
    for each in found.distributions:
        if each.bytes:
            yield Part(ROLES[each.role], text.plain(f"{each.name} {each.version}"), each.bytes, each.opened_bytes)
    if found.unowned_bytes:
        yield Part("no package", "files of no package", found.unowned_bytes, None)


def _about_executable(found: Executable) -> Iterator[str]:
    yield f"{text.size(found.bytes)}, {found.linkage}; {text.size(found.zstd_bytes)} compressed by zstd"
    if found.libraries:
        count, total = len(found.libraries), sum(each.bytes or 0 for each in found.libraries)
        what = "library" if count == 1 else "libraries"
        yield f"Needs {count} shared {what} of the system besides, {text.size(total)}"
    yield f"Code by crate: {found.code_from}"


def _about_environment(found: Environment) -> Iterator[str]:
    yield f"{text.size(found.bytes)} in {found.files} files of {len(found.distributions)} packages"
    if found.runtime:
        yield f"Python {found.runtime.version} below it, {text.size(found.runtime.bytes)}, is not in it"
    for name, count in found.beside.items():
        yield f"Needs the environment {name} beside it, {text.size(count)}, to make what it runs"
    unknown = [each.name for each in found.distributions if each.bytes is None]
    if unknown:
        yield f"Without a list of their files, and so not drawn: {', '.join(unknown)}"
