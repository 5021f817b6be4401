"""What the user sees while something is built: bars on a terminal, lines elsewhere, at least one every 15 s."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from arena_py.build.outcome import Built, NotBuilt

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Told by `ensure` how the builds go."""

    def begin(self, name: str, position: int, count: int) -> None:
        """Build `position` (from 1) of `count` starts."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """`done` of `total` crates or stages are finished and `what` is being worked on."""

    def tick(self, elapsed_s: float) -> None:
        """Time passes, about twice a second."""

    def end(self, name: str, outcome: Built | NotBuilt) -> None:
        """The build that began is over."""

    def note(self, text: str) -> None:
        """Anything else worth a line."""


class Silent:
    """Says nothing."""

    def begin(self, name: str, position: int, count: int) -> None:
        """Nothing."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Nothing."""

    def tick(self, elapsed_s: float) -> None:
        """Nothing."""

    def end(self, name: str, outcome: Built | NotBuilt) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Lines:
    """One plain line at the start, every 10 s, and at the end of each build.

    Args:
        console: where they go.
        clock: monotonic seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._name = self._what = ""
        self._said = 0.0

    def begin(self, name: str, position: int, count: int) -> None:
        """Say that it starts."""
        self._name, self._what = name, ""
        self.note(f"{name}: building ({position} of {count})")

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Remember it for the next line."""
        self._what = f"{done} of {total}, {what}" if total else what

    def tick(self, elapsed_s: float) -> None:
        """Say where it is when nothing was said for a while."""
        if self._clock() - self._said >= LINE_EVERY_S:
            self.note(f"{self._name}: {self._what or 'building'} ({duration(elapsed_s)})")

    def end(self, name: str, outcome: Built | NotBuilt) -> None:
        """Say how it ended."""
        self.note(f"{name}: {verdict(outcome)}")

    def note(self, text: str) -> None:
        """Print it."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._said = self._clock()


class Display:
    """A bar for the build in progress, a line for each that is over.

    Args:
        bars: a started rich display.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("", visible=False)

    def begin(self, name: str, position: int, count: int) -> None:
        """Show its bar, pulsing until the number of steps is known."""
        title = f"{name} ({position}/{count})"
        self._bars.reset(self._task, total=None, description=title, visible=True, what="")

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=done, total=total, what=what)

    def tick(self, elapsed_s: float) -> None:
        """Nothing: the display refreshes itself."""

    def end(self, name: str, outcome: Built | NotBuilt) -> None:
        """Leave a line instead of the bar."""
        self._bars.update(self._task, visible=False)
        self.note(f"{name}: {verdict(outcome)}")

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._bars.console.print(text, markup=False, highlight=False)


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """The progress that suits the console: bars on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 (slow)
    from rich.progress import Progress as RichProgress  # noqa: PLC0415 (as above)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield Display(bars)


def verdict(outcome: Built | NotBuilt) -> str:
    """How a build ended, in a few words."""
    if isinstance(outcome, NotBuilt):
        return f"not built: {outcome.reason}"
    record = outcome.record
    return f"built {record.version}, {size(record.bytes or 0)} in {duration(record.seconds or 0)}"


def duration(seconds: float) -> str:
    """`8.2 s`, `42 s` or `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def size(count: int) -> str:
    """Bytes in decimal units: `812 B`, `14.2 MB`, `5.4 GB`."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
