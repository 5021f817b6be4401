"""The results on a terminal: a table a case, what is not ranked and why, who won."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arena_py.report import text
from arena_py.report.builds import builds
from arena_py.report.columns import Column, rows
from arena_py.report.notes import notes
from arena_py.report.verdict import means, winners
from arena_py.results.summary import by_case, in_order

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from arena_py.results.document import Cell, Run

GAP = 2
STYLES = {"wrong": "bold red", "crashed": "red", "out_of_memory": "yellow", "timed_out": "red", "not_built": "red"}


def show(run: Run, console: Console) -> None:
    """Print the run."""
    hidden: dict[str, None] = {}
    for case, cells in by_case(run.cells).items():
        hidden |= dict.fromkeys(_case(case, in_order(cells), console))
    _lines(console, "Notes", notes(run))
    _lines(console, "Warnings", run.warnings)
    _lines(console, "Time", [text.spent(run.breakdown)] if run.breakdown else [])
    _lines(console, "Builds", builds(run))
    _lines(console, "Results", winners(run))
    _lines(console, "Over all cases", means(run))
    ranges = any(cell.summary and cell.summary.median_ns.confidence < 0.95 for cell in run.cells)
    legend = ["± is half the 95 % interval of the median"]
    legend += ["~ is half the range: too few samples for an interval"] if ranges else []
    legend += [f"run.md has more columns: {', '.join(hidden)}"] if hidden else []
    _print(console, "; ".join(legend), style="dim")


def _case(case: str, cells: list[Cell], console: Console) -> list[str]:
    """One case; the titles of the columns that found no room."""
    from rich.text import Text  # noqa: PLC0415 (slow: not for --help)

    _print(console, f"\n{case}", style="bold")
    ranked = [cell for cell in cells if cell.summary and cell.summary.rank]
    columns, values = rows(ranked)
    widths = [
        max(len(column.title), *(len(row[index]) for row in values)) for index, column in enumerate(columns) if values
    ]
    kept = fitting(columns, widths, console.width) if ranked else []
    if kept:
        table = _table(console)
        for index in kept:
            title = columns[index].title
            table.add_column(title, no_wrap=True, justify="left" if title == "runner" else "right")
        for row in values:
            table.add_row(*(Text(row[index]) for index in kept))
        console.print(table)
    for cell in cells:
        if cell not in ranked:
            _unranked(cell, console)
    return [column.title for index, column in enumerate(columns) if index not in kept]


def fitting(columns: list[Column], widths: list[int], width: int) -> list[int]:
    """The positions of the columns that fit, the least important dropped first."""
    kept = list(range(len(columns)))
    while len(kept) > 1 and sum(widths[index] + GAP for index in kept) - GAP > width:
        kept.remove(min(kept, key=lambda index: columns[index].keep))
    return kept


def _unranked(cell: Cell, console: Console) -> None:
    from rich.text import Text  # noqa: PLC0415 (as above)

    line = Text(f"  {text.plain(cell.label)}: ")
    line.append(cell.status, style=STYLES.get(cell.status, "yellow"))
    line.append(f": {text.plain(cell.reason)}" if cell.reason else "")
    took = f" (not ranked: {text.measured(cell.summary.median_ns)})" if cell.summary else ""
    line.append(took, style="dim")
    console.print(line, highlight=False)
    for logged in cell.log_tail[-3:] if cell.status in STYLES else []:
        console.print(Text(f"    | {text.plain(logged)}", style="dim"), highlight=False)


def _table(console: Console) -> Table:
    from rich import box  # noqa: PLC0415 (as above)
    from rich.table import Table as RichTable  # noqa: PLC0415 (as above)

    frame = box.SIMPLE_HEAD if console.is_terminal else None
    return RichTable(box=frame, pad_edge=False, padding=(0, GAP, 0, 0), show_edge=False)


def _lines(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        _print(console, f"\n{title}", style="bold")
        for line in lines:
            _print(console, f"  {text.plain(line)}")


def _print(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, markup=False, highlight=False)
