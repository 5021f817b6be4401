"""Between one run of the page and the next on the same machine: what became slower or faster, as `diff` has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from arena_py.report import text
from arena_py.results.difference import difference
from arena_py.results.document import Run
from arena_py.results.noise import fingerprint


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A difference that is no tie."""

    run: str
    """The key of the later run."""
    before: str
    case: str
    label: str
    verdict: str
    ratio: tuple[float, float, float]
    """How many times longer it takes than before, with its interval."""


def steps(runs: Sequence[tuple[str, Run]]) -> list[Step]:
    """Every step between runs that follow each other on one machine with as many threads.

    Args:
        runs: with their keys, oldest first.
    """
    latest: dict[tuple[str, int], tuple[str, Run]] = {}
    found: list[Step] = []
    for key, run in runs:
        place = (fingerprint(run.machine), run.threads)
        if place in latest:
            found += _between(latest[place], (key, run))
        latest[place] = (key, run)
    return found


def _between(before: tuple[str, Run], after: tuple[str, Run]) -> Iterator[Step]:
    for cell in difference(before[1], after[1]).having("regression", "improvement"):
        assert cell.ratio
        yield Step(
            run=after[0],
            before=before[0],
            case=text.plain(cell.case),
            label=text.plain(cell.label),
            verdict=cell.verdict,
            ratio=(cell.ratio.value, cell.ratio.low, cell.ratio.high),
        )
