"""What a measurement looks like while it runs: how far it is, what is being done and who is fastest so far.

Three lines that change on a terminal, under a line for each cell and case that is over; plain lines elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from arena_py.report import text
from arena_py.report.fastest import Fastest
from arena_py.report.verdict import winner

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from arena_py.measure.progress import Progress
    from arena_py.results.document import Cell

LINE_EVERY_S = 10.0
"""Of rounds, which begin several times a second; a new launch or case always has its line."""
REFRESH_PER_S = 2
"""Of a terminal: each takes time from the machine that is measured."""
BAR = 16
"""Characters."""


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
        self._finished = 0
        self._of_open.clear()

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
        return min(1.0, (self._finished + sum(list(self._of_open.values()))) / max(1, self._cells))

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
        self._fastest = Fastest()

    def plan(self, cells: int, launches: int) -> None:
        """How many cells there will be."""
        self._remaining.plan(cells, launches)

    def phase(self, subject: str, what: str) -> None:
        """Say it unless the last line is younger than `LINE_EVERY_S` and nothing but a round begins."""
        if ": round" not in what:
            self._print(f"{subject}: {what}")
        elif self._clock() - self._said_s >= LINE_EVERY_S:
            best = self._fastest.words
            self._print(f"{subject}: {what}{f'; fastest so far: {best}' if best else ''}")

    def sampled(self, cell: str, ns: Sequence[int]) -> None:
        """Keep the fastest in mind."""
        self._fastest.sampled(cell, ns)

    def failed(self, cell: str, reason: str) -> None:
        """Say it at once: what follows may take long."""
        self._fastest.out(cell)
        self._print(f"{cell}: {reason}")

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """Count it."""
        self._remaining.launched(cell, launch, launches)

    def done(self, cell: Cell) -> None:
        """Say how it ended."""
        self._remaining.done(cell)
        self._print(outcome(cell))

    def ended(self, cells: Sequence[Cell]) -> None:
        """Say who won."""
        self._fastest.over()
        if cells:
            self._print(winner(cells[0].case, cells))

    def _print(self, line: str) -> None:
        left = self._remaining
        head = f"[{left.finished}/{left.cells}{', ' + left.words if left.words else ''}] " if left.cells else ""
        self._console.print(head + text.plain(line), markup=False, highlight=False, soft_wrap=True)
        self._said_s = self._clock()


class Display:
    """On a terminal: how far the run is, what is being done, the fastest so far; above it a line a cell and a case.

    Args:
        console: a terminal.
        clock: monotonic seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._since_s = clock()
        self._remaining = Remaining(clock)
        self._fastest = Fastest()
        self._what = ""

    def plan(self, cells: int, launches: int) -> None:
        """Start the bar over."""
        self._remaining.plan(cells, launches)

    def phase(self, subject: str, what: str) -> None:
        """Show it."""
        self._what = text.plain(f"{subject}: {what}")

    def sampled(self, cell: str, ns: Sequence[int]) -> None:
        """Keep the fastest in mind."""
        self._fastest.sampled(cell, ns)

    def failed(self, cell: str, reason: str) -> None:
        """Show it; its line comes with the case's other cells."""
        self._fastest.out(cell)
        self._what = text.plain(f"{cell}: {reason}")

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """Move the bar."""
        self._remaining.launched(cell, launch, launches)

    def done(self, cell: Cell) -> None:
        """Leave a line."""
        self._remaining.done(cell)
        self._console.print(
            outcome(cell), style=None if cell.status == "passed" else "yellow", markup=False, highlight=False
        )

    def ended(self, cells: Sequence[Cell]) -> None:
        """Leave a line that says who won."""
        self._fastest.over()
        if cells:
            self._console.print(winner(cells[0].case, cells), style="bold", markup=False, highlight=False)

    def __rich__(self) -> RenderableType:
        """What it looks like now: at most three lines, none longer than the terminal."""
        from rich.console import Group  # noqa: PLC0415 (slow)
        from rich.text import Text  # noqa: PLC0415 (as above)

        left = self._remaining
        lines = []
        if left.cells:
            full = round(left.share * BAR)
            passed = time.strftime("%H:%M:%S", time.gmtime(self._clock() - self._since_s))
            told = f"{left.finished}/{left.cells} cells  {passed}{'  ' + left.words if left.words else ''}"
            lines.append(Text.assemble(("━" * full, "green"), ("─" * (BAR - full), "dim"), f"  {told}"))
        lines.append(Text(self._what))
        if best := self._fastest.words:
            lines.append(Text(f"fastest so far: {best}, not verified yet", style="cyan"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """The progress that suits the console."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.live import Live  # noqa: PLC0415 (slow)

    display = Display(console)
    with Live(display, console=console, transient=True, refresh_per_second=REFRESH_PER_S):
        yield display


def outcome(cell: Cell) -> str:
    """A cell in one line."""
    took = f" {text.measured(cell.summary.median_ns)}" if cell.summary and cell.status == "passed" else ""
    why = f": {cell.reason}" if cell.reason else ""
    return text.plain(f"{cell.case} {cell.label}: {cell.status}{took}{why}")
