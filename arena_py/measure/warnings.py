"""What makes the numbers of a run less certain, told from what was observed in it, with what to do about it."""

from __future__ import annotations

import statistics as plain
from collections import Counter
from collections.abc import Iterator, Sequence

from scipy import stats

from arena_py.results.document import Cell, Machine, Turn
from arena_py.results.observed import Observation
from arena_py.results.summary import by_case, steady

BUSY_SHARE = 0.5
"""Of the usable threads: a load average above it before the run disturbs the run."""
SLOW_FIRST = 0.10
"""The first round of a launch may be so much slower than the rest."""
DRIFT = 0.05
"""From the first to the last third of a case."""
SURE = 0.01
"""A trend is one when chance would make it less often (Mann, Nonparametric Tests Against Trend, 1945)."""
FEWEST_FOR_TREND = 9
OTHERS_SHARE = 0.10
"""Of the usable threads, and of a device's time: what other programs may take in the middle of a run."""
SLOWED = 0.80
"""Of the fastest clock that was seen: below it the processor is held back."""


def warnings(facts: Machine, threads: int, cells: Sequence[Cell], observations: Sequence[Observation]) -> list[str]:
    """Everything worth saying.

    Args:
        facts: of the machine, before the run.
        threads: of each runner.
        cells: all of the run.
        observations: one a round.
    """
    return [
        *_before(facts, threads, observations),
        *_during(facts, observations),
        *_single_launches(cells),
        *(told for cell in cells for told in _first_rounds(cell)),
        *(told for case, of_case in by_case(cells).items() for told in _drift(case, of_case)),
    ]


def _before(facts: Machine, threads: int, observations: Sequence[Observation]) -> Iterator[str]:
    others = _others_threads(observations)
    # The load average is that of the last minute, in which another run of Arena's may have ended.
    calm = others is not None and others <= OTHERS_SHARE * facts.usable_threads
    if facts.load_average and facts.load_average[0] > BUSY_SHARE * facts.usable_threads and not calm:
        yield (
            f"the machine was busy before the run (load average {facts.load_average[0]:.1f} on "
            f"{facts.usable_threads:g} threads); close other programs and measure again"
        )
    if facts.governor == "powersave":
        yield "the CPU governor is powersave; `cpupower frequency-set -g performance` gives steadier numbers"
    if threads > facts.usable_threads:
        yield (
            f"each runner has {threads} threads on {facts.usable_threads:g} usable processors; they wait for one "
            f"another: --threads {max(1, int(facts.usable_threads))}"
        )
    elif threads > facts.cores:
        yield (
            f"each runner has {threads} threads on {facts.cores} cores; two threads of one core share its arithmetic: "
            f"--threads {facts.cores}"
        )


def _during(facts: Machine, observations: Sequence[Observation]) -> Iterator[str]:
    others = _others_threads(observations)
    if others is not None and others > OTHERS_SHARE * facts.usable_threads:
        yield (
            f"other programs took {others:.1f} of {facts.usable_threads:g} processors during the rounds; "
            "close them, or measure when nothing else runs"
        )
    yield from _others_on_devices(observations)
    swapped = [each.swapped_out_bytes for each in observations if each.swapped_out_bytes is not None]
    if swapped and swapped[-1] > swapped[0]:
        yield (
            f"{(swapped[-1] - swapped[0]) / (1 << 20):.0f} MiB were swapped out during the rounds; close other "
            "programs, or measure fewer variants at a time (--framework)"
        )
    throttles = [each.throttles for each in observations if each.throttles is not None]
    if throttles and throttles[-1] > throttles[0]:
        yield "the processor was throttled for its heat during the rounds; let it cool, or lower its highest frequency"
    slowed = Counter(reason for each in observations for device in each.gpus for reason in device.slowed_by)
    for reason, rounds in slowed.items():
        yield f"a GPU was slowed down in {rounds} of {len(observations)} rounds: {reason}"
    clocks = [each.frequency_mhz for each in observations if each.frequency_mhz]
    if clocks and min(clocks) < SLOWED * max(clocks):
        yield (
            f"the processor's clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz; fix it (cpupower "
            "frequency-set) for steadier numbers"
        )


def _others_threads(observations: Sequence[Observation]) -> float | None:
    """The processors that other programs took during the rounds, their median; none where nobody could look."""
    found = [each.others_threads for each in observations if each.others_threads is not None]
    return plain.median(found) if found else None


def _others_on_devices(observations: Sequence[Observation]) -> Iterator[str]:
    shares: dict[tuple[int, str], list[float]] = {}
    for each in observations:
        for number, device in enumerate(each.gpus):
            if device.others_share is not None:
                shares.setdefault((number, device.name), []).append(device.others_share)
    for (number, name), found in shares.items():
        if plain.median(found) > OTHERS_SHARE:
            yield (
                f"other programs computed on GPU {number} ({name}) in {plain.median(found):.0%} of the time during the "
                "rounds; close them, or choose another device (CUDA_VISIBLE_DEVICES)"
            )


def _single_launches(cells: Sequence[Cell]) -> Iterator[str]:
    """Launches of one program differ by more than its turns do, and nothing of that is known from one."""
    sampled = [{turn.launch for turn in steady(cell)} for cell in cells if cell.turns]
    single = sum(1 for launches in sampled if len(launches) == 1)
    if single:
        yield (
            f"single launches: {single} of {len(sampled)} cells; a ± is that of its turns, and another launch may lie "
            "outside of it; --launches 3 or more shows what launches differ by"
        )


def _first_rounds(cell: Cell) -> Iterator[str]:
    """Warm-up that was too short: the first round of each launch against the rest of it."""
    excess = []
    for launch in sorted({turn.launch for turn in cell.turns}):
        turns = [turn for turn in steady(cell) if turn.launch == launch]
        if len(turns) >= 3:
            rest = plain.median(_median(turn) for turn in turns[1:])
            excess.append(_median(turns[0]) / rest - 1)
    if excess and min(excess) > SLOW_FIRST:
        yield (
            f"{cell.case} {cell.label}: the first round of every launch took at least {min(excess):.0%} longer than "
            "the rest; it was not warm yet: give it more rounds (--budget)"
        )


def _drift(case: str, cells: Sequence[Cell]) -> Iterator[str]:
    """Everybody's times over the order in which they were taken, each by the median of its own variant."""
    points = []
    for cell in cells:
        turns = steady(cell)
        if len(turns) >= 3:
            middle = plain.median(_median(turn) for turn in turns)
            points += [(turn.order, _median(turn) / middle) for turn in turns]
    if len(points) < FEWEST_FOR_TREND:
        return
    points.sort()
    third = len(points) // 3
    change = plain.median(y for _, y in points[-third:]) / plain.median(y for _, y in points[:third]) - 1
    trend = stats.kendalltau([x for x, _ in points], [y for _, y in points])
    if abs(change) > DRIFT and trend.pvalue < SURE:
        slower = "slower" if change > 0 else "faster"
        yield (
            f"{case}: the machine became {abs(change):.0%} {slower} during the case; ratios are paired and stand, "
            "medians do not compare with other runs: let the machine come to rest and measure again"
        )


def _median(turn: Turn) -> float:
    return plain.median(turn.ns)
