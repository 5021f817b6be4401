"""The columns that every table of cells has, whatever it is printed as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arena_py.report import text
from arena_py.results.document import Cell
from arena_py.results.phases import Phases, phases


@dataclass(frozen=True)
class Column:
    """One column of ranked cells.

    Args:
        title: its head.
        value: what a cell has there, if anything.
        keep: the larger, the longer it stays when the terminal is too narrow.
    """

    title: str
    value: Callable[[Cell], str | None]
    keep: int


def _phase(value: Callable[[Phases], float | None], shown: Callable[[float], str]) -> Callable[[Cell], str | None]:
    def read(cell: Cell) -> str | None:
        found = phases(cell)
        number = value(found) if found else None
        return None if number is None else shown(number)

    return read


def _size(value: float) -> str:
    return text.size(int(value))


def _rank(cell: Cell) -> str | None:
    return str(cell.summary.rank) if cell.summary and cell.summary.rank else None


def _median(cell: Cell) -> str | None:
    return text.measured(cell.summary.median_ns) if cell.summary else None


def _ratio(cell: Cell) -> str | None:
    summary = cell.summary
    if summary is None or summary.ratio_to_best is None:
        return None
    return f"{text.factor(summary.ratio_to_best)}{' tie' if is_tied(cell) else ''}"


def is_tied(cell: Cell) -> bool:
    """Whether it shares the first rank without being the fastest."""
    summary = cell.summary
    return bool(summary and summary.rank == 1 and summary.ratio_to_best and summary.ratio_to_best.value != 1.0)


def _first_token(cell: Cell) -> str | None:
    interval = cell.summary.first_token_ns if cell.summary else None
    return text.measured(interval) if interval else None


def _per_token(cell: Cell) -> str | None:
    interval = cell.summary.per_token_ns if cell.summary else None
    return text.measured(interval) if interval else None


COLUMNS = (
    Column("#", _rank, 100),
    Column("runner", lambda cell: text.plain(cell.label), 100),
    Column("median", _median, 100),
    Column("x best", _ratio, 90),
    Column("throughput", text.throughput, 60),
    Column("of peak", lambda cell: None if cell.peak_share is None else f"{cell.peak_share:.0%}", 55),
    Column("energy", text.energy_of, 57),
    Column("first token", _first_token, 65),
    Column("per token", _per_token, 66),
    Column("first", _phase(lambda found: found.first_ns, text.duration), 40),
    Column("prepare", _phase(lambda found: found.prepare_ns, text.duration), 30),
    Column("load", _phase(lambda found: found.load_ns, text.duration), 35),
    Column("start-up", _phase(lambda found: found.startup_ns, text.duration), 25),
    Column("peak memory", _phase(lambda found: found.peak_rss_bytes, _size), 80),
    Column("device", _phase(lambda found: found.device_bytes, _size), 20),
    Column("shipped", lambda cell: text.size(cell.shipped_bytes) if cell.shipped_bytes else None, 50),
    Column("error / limit", text.error_of, 70),
    Column("loss | reference", text.loss_of, 45),
)


def rows(cells: list[Cell]) -> tuple[list[Column], list[list[str]]]:
    """The columns in which any cell has something, and the rows."""
    table = {column: [column.value(cell) for cell in cells] for column in COLUMNS}
    kept = [column for column, values in table.items() if any(value is not None for value in values)]
    return kept, [[table[column][row] or "" for column in kept] for row in range(len(cells))]
