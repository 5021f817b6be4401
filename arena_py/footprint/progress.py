"""What the user sees while an audit goes on: one line that changes on a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Told before anything that takes time."""

    def begin(self, subject: str, position: int, count: int) -> None:
        """Entry `position` (from 1) of `count` is next."""

    def note(self, words: str) -> None:
        """Something begins that is worth a line."""

    def step(self, words: str) -> None:
        """How far it is; comes as often as it likes."""


class Silent:
    """Nobody watches."""

    def begin(self, subject: str, position: int, count: int) -> None:
        """Nothing."""

    def note(self, words: str) -> None:
        """Nothing."""

    def step(self, words: str) -> None:
        """Nothing."""


class Lines:
    """A line for each note; of steps one every `LINE_EVERY_S`, on a terminal a status that each of them replaces.

    Args:
        console: where they go.
        status: of a terminal.
        clock: monotonic seconds.
    """

    def __init__(
        self, console: Console, status: Status | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._status = status
        self._clock = clock
        self._head = ""
        self._said_s = clock()

    def begin(self, subject: str, position: int, count: int) -> None:
        """What follows is about it."""
        self._head = f"[{position}/{count}] {subject}: "

    def note(self, words: str) -> None:
        """Print it."""
        if self._status is not None:
            self._status.update("")
        self._console.print(self._head + words, markup=False, highlight=False, soft_wrap=True)
        self._said_s = self._clock()

    def step(self, words: str) -> None:
        """Show it, or print it when nothing was said for a while."""
        if self._status is not None:
            from rich.text import Text  # noqa: PLC0415 (slow: only on a terminal)

            self._status.update(Text(self._head + words))
        elif self._clock() - self._said_s >= LINE_EVERY_S:
            self.note(words)


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """The progress that suits the console."""
    if not console.is_terminal:
        yield Lines(console)
        return
    with console.status("") as status:
        yield Lines(console, status)
