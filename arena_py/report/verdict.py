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
    """The line of one case: who is fastest or ties, and how far ahead; in each precision for itself.

    Args:
        case: its name.
        cells: all of it, summarised.
    """
    ranked = [cell for cell in in_order(cells) if cell.summary and cell.summary.rank]
    if not ranked:
        return text.plain(f"{case}: nothing passed")
    told: list[str] = []
    for precision in dict.fromkeys(cell.precision for cell in ranked):
        of_precision = [cell for cell in ranked if cell.precision == precision]
        others = any(cell.precision == precision and cell not in of_precision for cell in cells)
        words = _first(of_precision, others=others)
        told.append(f"in {precision} {words}" if told else words)
    return text.plain(f"{case}: {'; '.join(told)}")


def _first(ranked: list[Cell], *, others: bool) -> str:
    """Who of the ranked cells of one precision is ahead; `others` of it did not pass."""
    first = [cell for cell in ranked if cell.summary and cell.summary.rank == 1]
    rest = ranked[len(first) :]
    if len(first) > 1:
        head = f"{' and '.join(cell.label for cell in first)} tie"
    elif rest:
        head = f"{first[0].label} is fastest"
    else:
        return f"{first[0].label} {'is the only one that passed' if others else 'passed'}"
    if not rest:
        return head
    next_ = rest[0].summary
    assert next_ and next_.ratio_to_best
    ratio = next_.ratio_to_best
    sure = "" if ratio.confidence >= 0.95 else f" at {ratio.confidence:.0%}, few samples"
    return f"{head}, {text.factor(ratio)} x [{ratio.low:.2f}, {ratio.high:.2f}{sure}] ahead of {rest[0].label}"
