"""Variants over many cases: the geometric mean of their ratios to one of them, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from arena_py.measure import statistics
from arena_py.results.document import Cell, Interval
from arena_py.results.summary import by_case, ratio

FEWEST_CASES = 2
"""Of one case there is nothing to take a mean of."""
FAMILIAR = "pytorch"
"""Of those that passed equally many cases, the framework whose times most readers know."""


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """One variant over all cases that it and the other side of the ratio passed."""

    label: str
    cases: int
    ratio: Interval
    """Geometric mean."""
    task: str | None = None
    """Of the cases; all tasks together when absent."""
    base: str | None = None
    """The variant that it is compared with; itself in an earlier run when absent."""
    unclear: int = 0
    """Of the cases, how many differ by what single launches may: the mean's interval knows nothing of that."""


def overall(cells: Sequence[Cell], *, seed: int) -> list[Overall]:
    """Every variant against the one that passed most cases; of those `FAMILIAR`'s, else the first.

    Args:
        cells: of a whole run, summarised.
        seed: of every bootstrap.
    """
    return [found for task in dict.fromkeys(cell.task for cell in cells) for found in _of_task(cells, task, seed)]


def _of_task(cells: Sequence[Cell], task: str, seed: int) -> Iterator[Overall]:
    ranked = [cell for cell in cells if cell.task == task and cell.summary and cell.summary.rank]
    passed = Counter(cell.label for cell in ranked)
    if not passed:
        return
    base = max(passed, key=lambda label: (passed[label], label.split(":")[0] == FAMILIAR))
    ratios: dict[str, list[Interval]] = {label: [] for label in passed}
    for of_case in by_case(ranked).values():
        theirs = next((cell for cell in of_case if cell.label == base), None)
        for cell in of_case if theirs else ():
            if theirs and cell is not theirs:
                ratios[cell.label].append(ratio(cell, theirs, seed=seed))
    means = {label: statistics.geometric_mean(found) for label, found in ratios.items() if len(found) >= FEWEST_CASES}
    for label in sorted(means, key=lambda label: means[label].value):
        yield Overall(label=label, cases=len(ratios[label]), ratio=means[label], task=task, base=base)
