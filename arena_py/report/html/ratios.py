"""How many times longer a cell takes than each other one of its case, so that a reader may choose the baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from arena_py.results.document import Cell, Run
from arena_py.results.summary import by_case, ratio, tied

MOST = 600
"""Ratios of a run that are resampled, about 10 ms each; the page takes the quotient of two intervals for the others."""


class Ratio(msgspec.Struct, frozen=True, array_like=True):
    """A paired ratio of two cells of one case."""

    value: float
    low: float
    high: float
    confidence: float
    tie: bool


def ratios(run: Run, most: int = MOST) -> dict[tuple[str, str], dict[str, Ratio]]:
    """The paired ratios of the cells that passed: by case and label, then by the label of the baseline.

    One direction of a pair is the reciprocal of the other and left out. Where there are more than `most`, the baselines
    that passed most cases have theirs, all of them or none.
    """
    passed = [cell for cell in run.cells if cell.summary and cell.summary.rank]
    counts = Counter(cell.label for cell in passed)
    baselines = sorted(counts, key=lambda label: (-counts[label], label))
    found: dict[tuple[str, str], dict[str, Ratio]] = {}
    left = most
    for position, label in enumerate(baselines):
        pairs = list(_pairs(passed, label, set(baselines[:position])))
        left -= len(pairs)
        if left < 0:
            break
        for ours, theirs in pairs:
            found.setdefault((ours.case, ours.label), {})[label] = _ratio(ours, theirs, run)
    return found


def _pairs(passed: list[Cell], label: str, before: set[str]) -> Iterator[tuple[Cell, Cell]]:
    """Every other cell with the baseline's of its case, but those that were baselines before."""
    for cells in by_case(passed).values():
        theirs = next((cell for cell in cells if cell.label == label), None)
        if theirs:
            yield from ((ours, theirs) for ours in cells if ours is not theirs and ours.label not in before)


def _ratio(ours: Cell, theirs: Cell, run: Run) -> Ratio:
    found = ratio(ours, theirs, seed=run.seed)
    tie = tied(ours, theirs, found, run.settings.noise_floor.get(ours.task, 0.0))
    return Ratio(found.value, found.low, found.high, found.confidence, tie)
