"""What the machine did besides while a case was sampled: looked at before each round, while everybody is idle."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from arena_py.measure import gpu
from arena_py.measure.energy import Meter
from arena_py.results.observed import Observation

CPUS = Path("/sys/devices/system/cpu")
THROTTLES = "cpu[0-9]*/thermal_throttle/core_throttle_count"

T = TypeVar("T")


class Watch:
    """Observes rounds, and counts what the driver itself costs.

    Args:
        case: what is sampled.
        meter: counts joules; every counter of the machine when absent.
    """

    def __init__(self, case: str, meter: Meter | None = None) -> None:
        self.observations: list[Observation] = []
        self.verify_ns = 0
        """Spent verifying, launches made for it included."""
        self.run_ns = 0
        """Of the requests that took samples, as the driver saw them."""
        self.driver_cpu_ns = 0
        """Of the driver's own processor time within them."""
        self.joules: dict[str, float] = {}
        """Of the last of them, by part of the machine."""
        self._case = case
        self._meter = Meter() if meter is None else meter
        self._before: tuple[float, float] | None = None
        self._looked_s: float | None = None

    def launch(self) -> None:
        """Other processes from here on: what was counted of the earlier ones is no base."""
        self._before = None
        self._looked_s = None

    def round(self, launch: int, round_: int) -> None:
        """Look before a round."""
        frequency = _or_none(lambda: psutil.cpu_freq().current)
        since_s, self._looked_s = self._looked_s, time.time()
        self.observations.append(
            Observation(
                case=self._case,
                launch=launch,
                round=round_,
                load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
                frequency_mhz=round(frequency, 1) if frequency else None,
                others_threads=self._others(),
                swapped_out_bytes=_or_none(lambda: int(psutil.swap_memory().sout)),
                throttles=_throttles(),
                gpus=gpu.states(_ours, since_s),
            )
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A request that takes samples."""
        before = self._meter.read()
        wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        try:
            yield
        finally:
            self.run_ns += time.perf_counter_ns() - wall_ns
            self.driver_cpu_ns += time.process_time_ns() - cpu_ns
            # NVIDIA's driver takes milliseconds to say it: after the samples, and no part of what they cost the driver.
            self.joules = self._meter.since(before, _ours)

    @contextlib.contextmanager
    def verifying(self) -> Iterator[None]:
        """The gate is asked."""
        started_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.verify_ns += time.perf_counter_ns() - started_ns

    def _others(self) -> float | None:
        """Processors' worth of work that neither the driver nor the runners did since the round before."""
        now = _or_none(lambda: (time.perf_counter(), _busy_s() - _own_s()))
        if now is None:
            return None
        before, self._before = self._before, now
        if before is None or now[0] <= before[0]:
            return None
        return round(max(0.0, (now[1] - before[1]) / (now[0] - before[0])), 2)


class Unwatched(Watch):
    """Looks at nothing and counts no joules: for runners that are not of this machine."""

    def __init__(self) -> None:
        super().__init__("", Meter([]))

    def round(self, launch: int, round_: int) -> None:
        """Look at nothing."""


def _family() -> list[psutil.Process]:
    """The driver's process and the runners'."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _ours() -> frozenset[int]:
    return frozenset(process.pid for process in _family())


def _busy_s() -> float:
    """Seconds that the processors that are ours were busy; what others do elsewhere disturbs nothing."""
    processors = psutil.cpu_times(percpu=True)
    ours = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(processors))
    # Where a processor is offline, their numbers are not their positions.
    known = all(number < len(processors) for number in ours)
    total = 0.0
    for times in [processors[number] for number in ours] if known else processors:
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guests are counted in `user` already.
        total += sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total


def _own_s() -> float:
    total = 0.0
    for process in _family():
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def _throttles() -> int | None:
    counts = []
    for path in CPUS.glob(THROTTLES):
        with contextlib.suppress(OSError, ValueError):
            counts.append(int(path.read_text(encoding="ascii")))
    return sum(counts) if counts else None


def _or_none(read: Callable[[], T]) -> T | None:
    """What a system does not tell is absent."""
    try:
        return read()
    except (OSError, AttributeError, NotImplementedError, RuntimeError, psutil.Error):
        return None
