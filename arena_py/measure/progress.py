"""What a measurement tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from arena_py.results.document import Cell


class Progress(Protocol):
    """Told before anything that takes time, and after each cell; `report/live.py` shows it."""

    def plan(self, cells: int, launches: int) -> None:
        """How many cells there will be, of how many launches each."""

    def phase(self, subject: str, what: str) -> None:
        """What begins now, on which cell, case or framework."""

    def sampled(self, cell: str, ns: Sequence[int]) -> None:
        """Executions of a cell (`CASE LABEL`) were timed; whether they are right is not known yet."""

    def failed(self, cell: str, reason: str) -> None:
        """A cell is out before its end."""

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """A launch of a cell is over; `launches` may be fewer than planned."""

    def done(self, cell: Cell) -> None:
        """A cell has its status."""

    def ended(self, cells: Sequence[Cell]) -> None:
        """A case is over; these are all of its cells."""


class Silent:
    """Nobody watches."""

    def plan(self, cells: int, launches: int) -> None:
        """Ignore it."""

    def phase(self, subject: str, what: str) -> None:
        """Ignore it."""

    def sampled(self, cell: str, ns: Sequence[int]) -> None:
        """Ignore it."""

    def failed(self, cell: str, reason: str) -> None:
        """Ignore it."""

    def launched(self, cell: str, launch: int, launches: int) -> None:
        """Ignore it."""

    def done(self, cell: Cell) -> None:
        """Ignore it."""

    def ended(self, cells: Sequence[Cell]) -> None:
        """Ignore it."""
