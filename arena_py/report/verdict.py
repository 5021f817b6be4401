"""Who won, by how much, and how sure that is: one line a case."""

from __future__ import annotations

from collections.abc import Sequence

from arena_py.report import text
from arena_py.results.document import Cell, Run
from arena_py.results.overall import overall
from arena_py.results.summary import by_case, in_order


def winners(run: Run) -> list[str]:
    """A line for each case."""
    return [winner(case, cells) for case, cells in by_case(run.cells).items()]


def means(run: Run) -> list[str]:
    """A line for each variant and task: its geometric mean over the cases, against one variant."""
    return [
        text.plain(
            f"{each.task}: {each.label} takes {text.factor(each.ratio)} x [{each.ratio.low:.2f}, "
            f"{each.ratio.high:.2f}] the time of {each.base}, geometric mean of {each.cases} cases"
        )
        for each in overall(run.cells, seed=run.seed)
    ]


def winner(case: str, cells: Sequence[Cell]) -> str:
    """The line of one case: who is fastest or ties, and how far ahead.

    Args:
        case: its name.
        cells: all of it, summarised.
    """
    ranked = [cell for cell in in_order(cells) if cell.summary and cell.summary.rank]
    if not ranked:
        return text.plain(f"{case}: nothing passed")
    first = [cell for cell in ranked if cell.summary and cell.summary.rank == 1]
    rest = ranked[len(first) :]
    if len(first) > 1:
        head = f"{case}: {' and '.join(cell.label for cell in first)} tie"
    elif rest:
        head = f"{case}: {first[0].label} is fastest"
    else:
        return text.plain(f"{case}: {first[0].label} {'passed' if len(cells) == 1 else 'is the only one that passed'}")
    if not rest:
        return text.plain(head)
    next_ = rest[0].summary
    assert next_ and next_.ratio_to_best
    ratio = next_.ratio_to_best
    sure = "" if ratio.confidence >= 0.95 else f" at {ratio.confidence:.0%}, few samples"
    margin = f"{text.factor(ratio)} x [{ratio.low:.2f}, {ratio.high:.2f}{sure}] ahead of {rest[0].label}"
    return text.plain(f"{head}, {margin}")
