"""Start-up: a variant started again and again, with its files in memory and without."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from arena_py.contract.session import RunnerFailed
from arena_py.footprint import page_cache
from arena_py.footprint.document import Launches, Startup
from arena_py.footprint.subject import Launch
from arena_py.measure.statistics import median_interval
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
    evict: Callable[[Iterable[Path]], float] | None = page_cache.evict,
    say: Callable[[str], None] = lambda _: None,
) -> Startup:
    """Start it so many times cold and so many warm, in turns: each warm start follows a cold one.

    Args:
        subject: what is started; it was started before, so that whatever only a first start does is done.
        case: on what.
        files: what an execution opens.
        launches: of each kind.
        evict: takes files out of memory and tells which share of their bytes is gone; none where nothing can.
        say: told how far it is.

    Raises:
        RunnerFailed: a start failed, or its outputs were wrong.
    """
    paths = list(files)
    cold: list[Launch] = []
    warm: list[Launch] = []
    evicted: list[float] = []
    say(f"starting it {launches} times cold and {launches} times warm")
    for _ in range(launches):
        if evict is not None:
            evicted.append(evict(paths))
            cold.append(_right(subject.launch()))
        warm.append(_right(subject.launch()))
    return Startup(
        case=case,
        warm=_summary(warm),
        cold=_summary(cold, min(evicted)) if cold else None,
        cold_how=page_cache.HOW if cold else "not measured: this system cannot take files out of its page cache",
    )


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
