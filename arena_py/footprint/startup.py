"""Start-up: a variant started again and again, with its files in memory and without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from arena_py.contract.session import RunnerFailed
from arena_py.footprint import page_cache
from arena_py.footprint.document import Launches, Startup
from arena_py.footprint.subject import Launch
from arena_py.measure.statistics import FEWEST_FOR_INTERVAL, median_interval
from arena_py.results.document import Interval


class Starts(Protocol):
    """What can be started; `Subject`."""

    def launch(self) -> Launch:
        """One start."""


def measure(
    subject: Starts,
    case: str,
    files: Iterable[Path],
    launches: int,
    *,
    budget_s: float | None = None,
    evict: Callable[[Iterable[Path]], float] | None = page_cache.evict,
    step: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Startup:
    """Start it so many times cold and so many warm, in turns: each warm start follows a cold one.

    What starts slowly is started less often once its budget is spent, but as often as an interval needs, and the
    result says so.

    Args:
        subject: what is started; it was started before, so that whatever only a first start does is done.
        case: on what.
        files: what an execution opens.
        launches: of each kind.
        budget_s: seconds that all of them may take; no limit when absent.
        evict: takes files out of memory and tells which share of their bytes is gone; none where nothing can.
        step: told how far it is.
        clock: monotonic seconds.

    Raises:
        RunnerFailed: a start failed, or its outputs were wrong.
    """
    paths = list(files)
    cold: list[Launch] = []
    warm: list[Launch] = []
    evicted: list[float] = []
    began_s = clock()
    for turn in range(launches):
        spent_s = clock() - began_s
        if budget_s is not None and spent_s >= budget_s and turn >= FEWEST_FOR_INTERVAL:
            break
        step(_told(turn, launches, spent_s, budget_s))
        if evict is not None:
            evicted.append(evict(paths))
            cold.append(_right(subject.launch()))
        warm.append(_right(subject.launch()))
    return Startup(
        case=case,
        warm=_summary(warm),
        cold=_summary(cold, min(evicted)) if cold else None,
        cold_how=page_cache.HOW if cold else "not measured: this system cannot take files out of its page cache",
        asked=launches,
        budget_s=budget_s,
    )


def _told(turn: int, launches: int, spent_s: float, budget_s: float | None) -> str:
    """`started 3 of 20 times, cold and warm, about 60 s left`."""
    words = f"started {turn} of {launches} times, cold and warm"
    if not turn:
        return words
    left_s = spent_s * (launches - turn) / turn
    if budget_s is not None and turn >= FEWEST_FOR_INTERVAL:
        left_s = min(left_s, max(budget_s - spent_s, 0.0))
    return f"{words}, about {left_s:.0f} s left"


def _right(launch: Launch) -> Launch:
    if launch.wrong:
        raise RunnerFailed("crashed", f"the first outputs of a start are wrong: {launch.wrong}")
    return launch


def _summary(launches: list[Launch], evicted: float | None = None) -> Launches:
    peaks = [each.peak_bytes for each in launches if each.peak_bytes is not None]
    return Launches(
        launches=len(launches),
        ready_ns=_median([each.ready_ns for each in launches]),
        first_ns=_median([each.first_ns for each in launches]),
        cpu_ready_s=statistics.median(each.cpu_ready_s for each in launches),
        cpu_first_s=statistics.median(each.cpu_first_s for each in launches),
        peak_bytes=int(statistics.median(peaks)) if peaks else None,
        samples=[(each.ready_ns, each.first_ns) for each in launches],
        evicted=evicted,
    )


def _median(values: list[int]) -> Interval:
    return median_interval([[float(value)] for value in values], seed=0)
