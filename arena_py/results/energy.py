"""What an execution costs in joules, from what the machine's own counters said around each turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from arena_py.measure import statistics
from arena_py.measure.warnings import OTHERS_SHARE
from arena_py.results.document import Cell, Energy, Turn
from arena_py.results.observed import Observation
from arena_py.results.summary import NS_PER_S, steady

SHORTEST_S = 1.0
"""Counted in all: NVML's counter moves about ten times a second, RAPL's a thousand times."""
STILL_SHARE = 0.05
"""Of the turns, in which a counter may say that nothing was taken."""


def with_energy(cells: Sequence[Cell], observations: Sequence[Observation], *, seed: int) -> list[Cell]:
    """The cells of one case with the joules of an execution, where the machine counts them.

    Args:
        cells: summarised.
        observations: of the machine, one before each round of the case.
        seed: of the bootstrap.
    """
    return [replace(cell, energy=_energy(cell, observations, seed)) for cell in cells]


def _energy(cell: Cell, observations: Sequence[Observation], seed: int) -> Energy | None:
    turns = [turn for turn in steady(cell) if turn.joules]
    parts = set.intersection(*(set(turn.joules) for turn in turns)) if turns else set()
    if not parts:
        return None
    doubts = list(_doubts(cell, turns, observations))
    return Energy(
        joules={
            part: statistics.share_interval([(turn.joules[part], len(turn.ns)) for turn in turns], seed=seed)
            for part in sorted(parts)
        },
        valid=not doubts,
        doubts=doubts,
    )


def _doubts(cell: Cell, turns: Sequence[Turn], observations: Sequence[Observation]) -> Iterator[str]:
    counted_s = sum(sum(turn.ns) for turn in turns) / NS_PER_S
    if counted_s < SHORTEST_S:
        yield f"counted over {counted_s:.2g} s, less than the {SHORTEST_S:g} s that the counters' steps ask for"
    for part in sorted(turns[0].joules):
        still = sum(not turn.joules.get(part) for turn in turns)
        if still == len(turns):
            yield f"the counter of the {part} did not move"
        elif still > STILL_SHARE * len(turns):
            yield (
                f"the counter of the {part} did not move in {still} of {len(turns)} turns: they are shorter than its "
                "steps, so that a turn is told some of what was before it"
            )
    others = max((each.others_threads or 0.0 for each in observations), default=0.0)
    if others > OTHERS_SHARE * cell.threads:
        yield f"other programs took {others:.2g} processors meanwhile, and their joules are counted too"
    if any(device.others_share and device.others_share > OTHERS_SHARE for each in observations for device in each.gpus):
        yield "other programs computed on the GPU meanwhile, and their joules are counted too"
