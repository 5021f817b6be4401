"""Two audits, part by part: what grew, what shrank, what came and went."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from arena_py.footprint.document import Audit, Entry


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """One part of one entry, of different bytes or another version in the second audit."""

    label: str
    part: str
    """`shipped`, a section, a library, a distribution, a crate's code; `opened`, `weights`."""
    before: int | None
    """Bytes; none where it is not there, or its size is not known."""
    after: int | None
    detail: str | None = None
    """Versions, or what came and went."""

    @property
    def bytes(self) -> int:
        """How much it grew."""
        return (self.after or 0) - (self.before or 0)


class AuditDifference(msgspec.Struct, frozen=True, kw_only=True):
    """`diff` of two audits."""

    before: str
    after: str
    caveats: list[str]
    parts: list[Growth]
    """Entry by entry: the whole first, then the parts that grew or shrank most."""


def difference(before: Audit, after: Audit) -> AuditDifference:
    """Compare two audits; parts that are the same are left out."""
    old, new = ({entry.label: entry for entry in audit.entries} for audit in (before, after))
    parts = [each for label in dict.fromkeys([*old, *new]) for each in _entry(label, old.get(label), new.get(label))]
    return AuditDifference(before=before.id, after=after.id, caveats=list(_caveats(before, after)), parts=parts)


def _entry(label: str, old: Entry | None, new: Entry | None) -> Iterator[Growth]:
    if old is None or new is None:
        known = old or new
        what = "gone" if new is None else "new"
        sizes = [each.shipped_bytes if each else None for each in (old, new)]
        if known is not None and known.status != "ok":
            what = f"{what}, {known.status}"
        yield Growth(label=label, part="shipped", before=sizes[0], after=sizes[1], detail=what)
        return
    sizes_of = dict(_sizes(old)), dict(_sizes(new))
    versions = dict(_versions(old)), dict(_versions(new))
    found = []
    for part in dict.fromkeys([*sizes_of[0], *sizes_of[1], *versions[0], *versions[1]]):
        before, after = (each.get(part) for each in sizes_of)
        detail = _told(part, *versions)
        if before != after or detail:
            found.append(Growth(label=label, part=part, before=before, after=after, detail=detail))
    if old.status != new.status:
        told = f"{old.status}, now {new.status}"
        found.insert(0, Growth(label=label, part="status", before=None, after=None, detail=told))
    yield from sorted(found, key=lambda each: (each.part not in ("status", "shipped"), -abs(each.bytes), each.part))


def _told(part: str, before: dict[str, str], after: dict[str, str]) -> str | None:
    old, new = before.get(part), after.get(part)
    if old == new:
        return None
    if old is None or new is None:
        return f"new, {new}" if old is None else f"gone, was {old}"
    return f"{old}, now {new}"


def _sizes(entry: Entry) -> Iterator[tuple[str, int | None]]:
    yield "shipped", entry.shipped_bytes
    yield "weights", entry.weights_bytes
    if entry.opened:
        yield "opened", entry.opened.bytes
    if entry.executable:
        yield from ((f"section {each.name}", each.bytes) for each in entry.executable.sections if each.in_file)
        yield from ((f"library {each.name}", each.bytes) for each in entry.executable.libraries)
        yield from ((f"code of {each.crate}", each.bytes) for each in entry.executable.code)
    if entry.environment:
        yield from ((f"package {each.name}", each.bytes) for each in entry.environment.distributions)
        yield "files of no package", entry.environment.unowned_bytes
        yield from ((f"environment {name}", size) for name, size in entry.environment.beside.items())


def _versions(entry: Entry) -> Iterator[tuple[str, str]]:
    """By the names that sizes have, so that a package's version stands beside its bytes."""
    if entry.version:
        yield "shipped", entry.version
    what = "package" if entry.environment else "crate"
    versions: dict[str, list[str]] = {}
    for each in entry.components:
        versions.setdefault(each.name, []).append(each.version)
    yield from ((f"{what} {name}", ", ".join(found)) for name, found in versions.items())


def _caveats(before: Audit, after: Audit) -> Iterator[str]:
    for what, old, new in (
        ("model", before.model, after.model),
        ("threads", before.threads, after.threads),
        ("architecture", before.machine.architecture, after.machine.architecture),
        ("arena", before.arena, after.arena),
    ):
        if old != new:
            yield f"{what}: {old}, now {new}"
