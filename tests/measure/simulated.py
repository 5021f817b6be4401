"""Runners that take what a known distribution says, on a clock that only they move."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from fake_runners import DESCRIPTION, MS, RIGHT, SECOND, Recorder

from arena_py.contract.messages import Loaded, MemoryUse, Prepared, Samples
from arena_py.manifest import Sampling
from arena_py.measure.entrant import Entrant
from arena_py.measure.sampling import Schedule, Seat


@dataclass
class Clock:
    """Nanoseconds since the start; every execution of anybody moves it."""

    now_ns: int = 0


Draw = Callable[[np.random.Generator], float]
"""One execution in nanoseconds."""


@dataclass
class Simulated:
    """A contender whose executions are drawn, slowed as the machine is at that time.

    `launch_jitter` moves each process as a whole, as its memory layout does.
    """

    label: str
    draw: Draw
    clock: Clock
    generator: np.random.Generator
    machine: Callable[[float], float] = lambda _: 1.0
    """How many times longer everything takes, by the seconds since the start."""
    launch_jitter: float = 0.0
    changes_itself: bool = False
    factor: float = field(default=1.0, init=False)

    @contextlib.contextmanager
    def launch(self):
        self.factor = float(np.exp(self.generator.normal(0.0, self.launch_jitter))) if self.launch_jitter else 1.0
        yield Process(self)


@dataclass
class Process:
    runner: Simulated
    startup_ns: int = 5 * MS
    description = DESCRIPTION

    def load(self):
        return Loaded(load_ns=5 * MS, parameters=1, parameter_bytes=4)

    def prepare(self):
        return Prepared(prepare_ns=5 * MS, first_ns=self._execute())

    def run(self, iterations):
        return Samples(samples_ns=[self._execute() for _ in range(iterations)])

    def _execute(self):
        runner = self.runner
        slower = runner.machine(runner.clock.now_ns / SECOND) * runner.factor
        taken_ns = max(1, int(runner.draw(runner.generator) * slower))
        runner.clock.now_ns += taken_ns
        return taken_ns

    def usage(self):
        return MemoryUse(peak_rss_bytes=100)

    def rebind(self):
        return []

    def verify(self, curve):
        return RIGHT

    def unfinished_ns(self, execution_ns):
        return 0

    def log_tail(self):
        return []


def jitter(median_ms: float, sigma: float) -> Draw:
    """Log-normal around its median, as times are: never negative, a longer tail above."""
    return lambda generator: float(median_ms * MS * np.exp(generator.normal(0.0, sigma)))


def bimodal(low_ms: float, high_ms: float, share: float, sigma: float) -> Draw:
    """`share` of the executions in the upper mode."""
    return lambda generator: float(
        (high_ms if generator.random() < share else low_ms) * MS * np.exp(generator.normal(0.0, sigma))
    )


def sampled(
    draws: dict[str, Draw],
    seed: int,
    plan: Sampling,
    *,
    machine: Callable[[float], float] = lambda _: 1.0,
    launch_jitter: float = 0.0,
) -> dict[str, Entrant]:
    """The entrants of all runners after the real schedule."""
    clock = Clock()
    seats = [
        Seat(
            Simulated(label, draw, clock, np.random.default_rng([seed, number]), machine, launch_jitter),
            Entrant(label, plan),
        )
        for number, (label, draw) in enumerate(draws.items())
    ]
    Schedule(
        seats,
        weights_bytes=1,
        available_bytes=lambda: 1 << 40,
        shuffler=np.random.default_rng(seed),
        progress=Recorder(),
    ).run()
    return {seat.entrant.label: seat.entrant for seat in seats}
