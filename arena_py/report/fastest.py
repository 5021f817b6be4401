"""Which cell of a case is the fastest while the case is measured; the gate has not spoken yet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from arena_py.report import text


class Fastest:
    """The lowest median of the case that is being measured."""

    def __init__(self) -> None:
        self._case = ""
        self._turns_ns: dict[str, list[float]] = {}

    def sampled(self, cell: str, ns: Sequence[int]) -> None:
        """Take in the samples of one turn.

        Args:
            cell: `CASE LABEL`; one of another case starts over.
            ns: at least one.
        """
        case, _, label = cell.partition(" ")
        if case != self._case:
            self._case, self._turns_ns = case, {}
        self._turns_ns.setdefault(label, []).append(statistics.median(ns))

    def out(self, cell: str) -> None:
        """Forget a cell that broke."""
        case, _, label = cell.partition(" ")
        if case == self._case:
            self._turns_ns.pop(label, None)

    def over(self) -> None:
        """Forget the case: what it came to is known."""
        self._turns_ns = {}

    @property
    def words(self) -> str:
        """`luminal:cpu, 57.7 ms, of 5`; empty until something was sampled."""
        # A display reads it from a thread of its own: from a copy, while turns come in.
        medians_ns = {label: statistics.median(turns) for label, turns in dict(self._turns_ns).items()}
        if not medians_ns:
            return ""
        label = min(medians_ns, key=lambda each: medians_ns[each])
        return text.plain(f"{label}, {text.duration(medians_ns[label])}, of {len(medians_ns)}")
