"""What the turns of a case say: medians with intervals, ratios to the best, ranks.

Only cells that passed the gate are compared and ranked; of the others, what was timed is summarised and shown.
"""

from __future__ import annotations

import functools
import statistics as plain
import zlib
from collections.abc import Iterable

from msgspec.structs import replace

from arena_py.measure import statistics
from arena_py.measure.resampling import CONFIDENCE
from arena_py.results.document import Cell, Interval, Summary, Turn

NS_PER_S = 1e9


def summarised(cells: Iterable[Cell], *, seed: int, floor: float = 0.0) -> list[Cell]:
    """The cells of one case with their summaries, ratios and ranks.

    Args:
        cells: all of one case.
        seed: of every bootstrap.
        floor: the machine's noise floor for the case's task; a ratio no further from 1 is a tie.
    """
    alone = [replace(cell, summary=_summary(cell, seed)) for cell in cells]
    ranked: dict[str, Cell] = {}
    # A lower precision computes something else: each has ranks of its own.
    for precision in dict.fromkeys(cell.precision for cell in alone):
        passed = [cell for cell in alone if cell.status == "passed" and cell.summary and cell.precision == precision]
        passed.sort(key=_median_ns)
        # Medians under a drift of the machine may stand the other way round than the rounds that both took part in.
        passed.sort(key=functools.cmp_to_key(lambda ours, theirs: _sign(_paired(ours, theirs) - 1.0)))
        ranked |= {cell.label: cell for cell in _ranked(passed, seed, floor)}
    return [ranked.get(cell.label, cell) for cell in alone]


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Ranked cells first, float32 before lower precisions, by rank and speed; then the others by name."""

    def place(cell: Cell) -> tuple[bool, bool, str, int, float, str]:
        ranked = _rank(cell) is not None
        lower = ranked and cell.precision != "f32"
        precision = cell.precision if ranked else ""
        return not ranked, lower, precision, _rank(cell) or 0, _median_ns(cell), cell.label

    return sorted(cells, key=place)


def by_case(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """The cells of each case, in the order in which the cases appear."""
    cases: dict[str, list[Cell]] = {}
    for cell in cells:
        cases.setdefault(cell.case, []).append(cell)
    return cases


def steady(cell: Cell) -> list[Turn]:
    """The turns that count."""
    return [turn for turn in cell.turns if not turn.warmup]


def ratio(ours: Cell, theirs: Cell, *, seed: int) -> Interval:
    """How many times longer `ours` takes than `theirs`; both have steady turns."""
    pairs, launches = _pairs(ours, theirs)
    return statistics.ratio_interval(_samples(ours), _samples(theirs), pairs=pairs, seed=seed, launches=launches)


def tied(ours: Cell, theirs: Cell, found: Interval, floor: float) -> bool:
    """Whether the ratio `found` of two summarised cells is no difference.

    It is none inside its interval or the machine's noise floor for the task; without a whole interval also inside what
    the launches of either differ by.
    """
    assert ours.summary and theirs.summary
    if found.confidence < CONFIDENCE:
        floor = max(floor, ours.summary.launch_spread or 0.0, theirs.summary.launch_spread or 0.0)
    return statistics.is_tie(found, floor)


def _pairs(ours: Cell, theirs: Cell) -> tuple[list[tuple[float, float]], list[int]]:
    """Medians of the turns that both had in the same round, and the launch of each."""
    medians = {(turn.launch, turn.round): plain.median(turn.ns) for turn in steady(theirs) if turn.round >= 0}
    paired = [turn for turn in steady(ours) if (turn.launch, turn.round) in medians]
    found = [(plain.median(turn.ns), medians[turn.launch, turn.round]) for turn in paired]
    return found, [turn.launch for turn in paired]


def _paired(ours: Cell, theirs: Cell) -> float:
    """The median of the ratios within rounds; of few rounds the ratio of the medians."""
    pairs, _ = _pairs(ours, theirs)
    if len(pairs) < statistics.FEWEST_FOR_INTERVAL:
        return _median_ns(ours) / _median_ns(theirs)
    return plain.median(a / b for a, b in pairs)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _ranked(passed: list[Cell], seed: int, floor: float) -> list[Cell]:
    ranked: list[Cell] = []
    leader: Cell | None = None
    for position, cell in enumerate(passed, start=1):
        if leader is None or not tied(cell, leader, ratio(cell, leader, seed=seed), floor):
            leader, rank = cell, position
        to_best = ratio(cell, passed[0], seed=seed) if position > 1 else Interval(1.0, 1.0, 1.0)
        assert cell.summary
        ranked.append(replace(cell, summary=replace(cell.summary, ratio_to_best=to_best, rank=rank)))
    return ranked


def _summary(cell: Cell, seed: int) -> Summary | None:
    turns = steady(cell)
    if not turns:
        return None
    samples = [ns for turn in turns for ns in turn.ns]
    # Each cell its own stream of random numbers, whatever else is in the run.
    seed += zlib.crc32(f"{cell.case} {cell.label}".encode())
    median = statistics.median_interval(_samples(cell), seed=seed, launches=[turn.launch for turn in turns])
    launches = [
        plain.median(ns for turn in turns if turn.launch == launch for ns in turn.ns)
        for launch in sorted({turn.launch for turn in turns})
    ]
    units = cell.units_per_execution * NS_PER_S
    first = [list(turn.first_token_ns) for turn in turns if turn.first_token_ns]
    return Summary(
        median_ns=median,
        samples=len(samples),
        outliers=statistics.outliers(samples),
        mad_ns=statistics.median_absolute_deviation(samples),
        launch_spread=statistics.launch_spread(launches),
        units_per_s=replace(median, value=units / median.value, low=units / median.high, high=units / median.low),
        first_token_ns=statistics.median_interval(first, seed=seed) if first else None,
        per_token_ns=_per_token(cell, turns, seed),
    )


def _per_token(cell: Cell, turns: list[Turn], seed: int) -> Interval | None:
    """The time of each token after the first of `decode`, whose sequences run side by side."""
    later = (cell.steps_per_execution or 0) - 1
    spent = [
        [(whole - first) / later for whole, first in zip(turn.ns, turn.first_token_ns, strict=True)]
        for turn in turns
        if turn.first_token_ns and later > 0
    ]
    return statistics.median_interval(spent, seed=seed) if spent else None


def _samples(cell: Cell) -> list[list[int]]:
    return [turn.ns for turn in steady(cell)]


def _rank(cell: Cell) -> int | None:
    return cell.summary.rank if cell.summary else None


def _median_ns(cell: Cell) -> float:
    return cell.summary.median_ns.value if cell.summary else float("inf")
