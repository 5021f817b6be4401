"""What a measurement looks like while it runs: a bar and what is being done on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from arena_py.report import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from arena_py.measure.progress import Progress
    from arena_py.results.document import Cell

LINE_EVERY_S = 10.0
"""Of rounds, which begin several times a second; a new launch or case always has its line."""


class Remaining:
    """How much is left, in launches of cells, and how long that takes at the speed so far.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s = clock()
        self._cells = 0
        self._launches = 1
        self._finished = 0
        self._of_open: dict[str, float] = {}

    def plan(self, cells: int, launches: int) -> None:
        """Start over with so many cells."""
        self._cells, self._launches, self._since_s = cells, launches, self._clock()

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """A launch of a cell is over."""
        self._of_open[cell] = (launch + 1) / launches

    def done(self, cell: Cell) -> None:
        """A cell is over; its launches count as one whole from now on."""
        self._of_open.pop(f"{cell.case} {cell.label}", None)
        self._finished += 1

    @property
    def finished(self) -> int:
        """Cells that are over."""
        return self._finished

    @property
    def cells(self) -> int:
        """All cells."""
        return self._cells

    @property
    def share(self) -> float:
        """Of the work, what is done."""
        return min(1.0, (self._finished + sum(self._of_open.values())) / max(1, self._cells))

    @property
    def words(self) -> str:
        """`about 3 min left`; empty until something can be said."""
        if self.share == 0:
            return ""
        left_s = (self._clock() - self._since_s) * (1 - self.share) / self.share
        return f"about {left_s:.0f} s left" if left_s < 90 else f"about {left_s / 60:.0f} min left"


class Lines:
    """One plain line for each case, launch and cell; of rounds one every `LINE_EVERY_S`.

    Args:
        console: where they go.
        clock: monotonic seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._said_s = -LINE_EVERY_S
        self._remaining = Remaining(clock)

    def plan(self, cells: int, launches: int) -> None:
        """How many cells there will be."""
        self._remaining.plan(cells, launches)

    def phase(self, subject: str, what: str) -> None:
        """Say it unless the last line is younger than `LINE_EVERY_S` and nothing but a round begins."""
        if ": round" not in what or self._clock() - self._said_s >= LINE_EVERY_S:
            self._print(f"{subject}: {what}")

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """Count it."""
        self._remaining.launched(cell, launch, launches)

    def done(self, cell: Cell) -> None:
        """Say how it ended."""
        self._remaining.done(cell)
        self._print(outcome(cell))

    def _print(self, line: str) -> None:
        left = self._remaining
        head = f"[{left.finished}/{left.cells}{', ' + left.words if left.words else ''}] " if left.cells else ""
        self._console.print(head + text.plain(line), markup=False, highlight=False, soft_wrap=True)
        self._said_s = self._clock()


class Display:
    """One bar for the whole run, with what is being done and what is left; a line for each cell that is over.

    Args:
        bars: a started rich display.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._remaining = Remaining(time.monotonic)
        self._task = bars.add_task("", total=1.0, what="", left="")

    def plan(self, cells: int, launches: int) -> None:
        """How many cells there will be."""
        self._remaining.plan(cells, launches)
        self._update()

    def phase(self, subject: str, what: str) -> None:
        """Show it."""
        self._bars.update(self._task, what=text.plain(f"{subject}: {what}"))
        self._update()

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """Move the bar."""
        self._remaining.launched(cell, launch, launches)
        self._update()

    def done(self, cell: Cell) -> None:
        """Leave a line."""
        self._remaining.done(cell)
        self._bars.console.print(outcome(cell), markup=False, highlight=False)
        self._update()

    def _update(self) -> None:
        left = self._remaining
        self._bars.update(
            self._task, completed=left.share, description=f"{left.finished}/{left.cells} cells", left=left.words
        )


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """The progress that suits the console."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 (slow)
    from rich.progress import Progress as RichProgress  # noqa: PLC0415 (as above)
    from rich.table import Column  # noqa: PLC0415 (as above)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn(
            "{task.fields[what]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
    )
    with RichProgress(*columns, console=console, transient=True, expand=True) as bars:
        yield Display(bars)


def outcome(cell: Cell) -> str:
    """A cell in one line."""
    took = f" {text.measured(cell.summary.median_ns)}" if cell.summary and cell.status == "passed" else ""
    why = f": {cell.reason}" if cell.reason else ""
    return text.plain(f"{cell.case} {cell.label}: {cell.status}{took}{why}")
