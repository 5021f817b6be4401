"""What `diff` prints of two audits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from tabulate import tabulate

from arena_py.report import text
from arena_py.report.markdown import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from arena_py.footprint.growth import AuditDifference, Growth

HEAD = ("runner", "part", "before", "after", "growth", "")


def rows(found: AuditDifference) -> list[list[str]]:
    """A row a part."""
    return [[each.label, each.part, _size(each.before), _size(each.after), _growth(each), each.detail or ""]
            for each in found.parts]  # fmt: skip


def show(found: AuditDifference, console: Console) -> None:
    """Print it on a terminal."""
    lines = [f"{found.before} -> {found.after}", *(f"not the same: {caveat}" for caveat in found.caveats)]
    for line in lines:
        console.print(text.plain(line), markup=False, highlight=False, soft_wrap=True)
    body = [[text.plain(value) for value in row] for row in rows(found)]
    told = str(tabulate(body, HEAD, tablefmt="simple", disable_numparse=True)) if body else "nothing grew or shrank"
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def markdown(found: AuditDifference) -> str:
    """The same as a page."""
    body = [[escaped(value) for value in row] for row in rows(found)]
    table = str(tabulate(body, HEAD, tablefmt="github", disable_numparse=True)) if body else "Nothing grew or shrank."
    caveats = "\n".join(f"- not the same: {escaped(caveat)}" for caveat in found.caveats)
    parts = [f"# {escaped(found.before)} -> {escaped(found.after)}", caveats, table]
    return "\n\n".join(part for part in parts if part) + "\n"


def json(found: AuditDifference) -> str:
    """The same for programs."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"


def _size(count: int | None) -> str:
    return "" if count is None else text.size(count)


def _growth(each: Growth) -> str:
    if each.before is None and each.after is None:
        return ""
    sign = "-" if each.bytes < 0 else "+"
    share = f" ({each.bytes / each.before:+.1%})" if each.before and each.after is not None else ""
    return f"{sign}{text.size(abs(each.bytes))}{share}"
