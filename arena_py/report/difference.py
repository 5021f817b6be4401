"""What `diff` prints: what else differs first and loudly, then the cells, then each variant over all its cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from tabulate import tabulate

from arena_py.report import text
from arena_py.report.markdown import escaped
from arena_py.results.difference import CellDifference, Difference

if TYPE_CHECKING:
    from rich.console import Console

HEAD = ("case", "runner", "before", "after", "ratio", "95 % interval", "verdict")
ORDER = ("newly wrong", "regression", "gone", "improvement", "newly right", "new", "unclear", "tie", "not ranked")
UNCLEAR = (
    "unclear: the intervals are of turns within one launch, and another launch may lie outside of them; compare runs "
    "of --launches 3 or more, or let `python -m arena_py aa` find what this machine's launches differ by"
)
STYLES = {
    "newly wrong": "bold red",
    "regression": "red",
    "gone": "yellow",
    "improvement": "green",
    "newly right": "green",
}


def rows(cells: Sequence[CellDifference]) -> list[list[str]]:
    """A row a cell, what a reader must see first on top."""
    ordered = sorted(cells, key=lambda cell: (ORDER.index(cell.verdict), cell.case, cell.label))
    return [
        [
            cell.case,
            cell.label,
            text.duration(cell.before_ns) if cell.before_ns else "",
            text.duration(cell.after_ns) if cell.after_ns else "",
            f"{cell.ratio.value:.3f}" if cell.ratio else "",
            _interval(cell),
            f"{cell.verdict}: {cell.detail}" if cell.detail else cell.verdict,
        ]
        for cell in ordered
    ]


def _interval(cell: CellDifference) -> str:
    if cell.ratio is None:
        return ""
    sure = "" if cell.ratio.confidence >= 0.95 else f" at {cell.ratio.confidence:.0%}"
    noise = f", noise {cell.noise:.1%}" if cell.verdict == "tie" and cell.noise else ""
    return f"[{cell.ratio.low:.3f}, {cell.ratio.high:.3f}]{sure}{noise}"


def summary(found: Difference) -> str:
    """`2 regressions, 1 improvement, 7 ties`."""
    counts = {verdict: len(found.having(verdict)) for verdict in ORDER}  # type: ignore[arg-type]  # its own words
    plural = {"regression": "regressions", "improvement": "improvements", "tie": "ties"}
    told = [
        f"{count} {plural.get(verdict, verdict) if count != 1 else verdict}"
        for verdict, count in counts.items()
        if count
    ]
    return ", ".join(told) or "nothing to compare"


def overall(found: Difference) -> list[str]:
    """A line a variant that has several cases."""
    return [
        f"{each.label}: {each.ratio.value:.3f} [{each.ratio.low:.3f}, {each.ratio.high:.3f}] over {each.cases} cases"
        + (f", {each.unclear} of them unclear" if each.unclear else "")
        for each in found.overall
        if each.cases > 1
    ]


def show(found: Difference, console: Console) -> None:
    """Print it on a terminal."""
    _print(console, f"{found.before} -> {found.after}", "bold")
    if found.caveats:
        _print(console, "\nNOT THE SAME: these may be why the numbers differ", "bold yellow")
        for caveat in found.caveats:
            _print(console, f"  {caveat}", "yellow")
    body = rows(found.cells)
    made = str(tabulate([[text.plain(value) for value in row] for row in body], HEAD, tablefmt="simple",
                        disable_numparse=True))  # fmt: skip
    _print(console, "")
    head, rule, *lines = made.splitlines()
    _print(console, f"{head}\n{rule}")
    for row, line in zip(body, lines, strict=True):
        _print(console, line, STYLES.get(row[-1].partition(":")[0]))
    if lines := overall(found):
        _print(console, "\nGeometric mean over cases", "bold")
        for told in lines:
            _print(console, f"  {told}")
    if found.having("unclear"):
        _print(console, f"\n{UNCLEAR}", "yellow")
    _print(console, f"\n{summary(found)}", "bold")


def markdown(found: Difference) -> str:
    """The same as a page."""
    parts = [f"# {escaped(found.before)} -> {escaped(found.after)}", f"**{summary(found)}**"]
    if found.caveats:
        parts += ["## Not the same", "\n".join(f"- {escaped(caveat)}" for caveat in found.caveats)]
    body = [[escaped(value) for value in row] for row in rows(found.cells)]
    parts += ["## Cells", str(tabulate(body, HEAD, tablefmt="github", disable_numparse=True))]
    if found.having("unclear"):
        parts.append(UNCLEAR)
    if lines := overall(found):
        parts += ["## Geometric mean over cases", "\n".join(f"- {escaped(line)}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def json(found: Difference) -> str:
    """The same for programs."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(text_lines(line), style=style, markup=False, highlight=False, soft_wrap=True)


def text_lines(line: str) -> str:
    """Foreign words made safe, line by line."""
    return "\n".join(part if part.isprintable() else text.plain(part) for part in line.split("\n"))
