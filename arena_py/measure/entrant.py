"""One variant on one case while it is measured: what it has shown so far, and whether it needs more.

The rules of stopping, all on the samples and none on the wall clock, so that they can be tested:

- A launch is warmed up until a turn is no longer faster than the one before, at most `WARMUP_TURNS` of them. A slow
  runner's first turn counts; if the next one shows that it was only cold, neither does, and it is warmed up after all.
- A quick runner's turn lasts at least `TURN_NS`, a slow one's is a single execution.
- A launch ends when its part of the samples that the plan wants is there and the interval is narrow enough, the plan's
  `max_samples` or its budget is used up (each in equal parts for every launch; the interval by its root).
- A cell whose `min_samples` do not fit the budget is *slow*: it takes as many as fit, at least `SLOW_SAMPLES`.
- A cell whose launches, by what the first one cost before its first sample, take more than `START_BUDGETS` budgets gets
  only as many as fit one budget, unless the plan wants every one.

Each departure from the plan is noted in the cell.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

from msgspec.structs import replace

from arena_py.contract.messages import Description, Loaded
from arena_py.contract.session import RunnerFailed
from arena_py.manifest import Sampling
from arena_py.measure.statistics import FEWEST_FOR_INTERVAL, half_width
from arena_py.results.document import Launch, Status, Turn, Verification

TURN_NS = 50_000_000
MOST_ITERATIONS = 256
"""Of one turn: a thousand more samples of a microsecond say nothing new."""
WARMUP_TURNS = 5
WARM = 0.95
"""A warm-up turn that takes at least this share of the one before it is the last."""
LAUNCH_TURNS = 4
"""Of each launch, at least: fewer cannot tell what launches differ by from what their turns do."""
START_BUDGETS = 2
"""Two of three launches say nearly nothing of what launches differ by, so a little more time is better spent."""
SLOW_SAMPLES = 2
"""One sample has no spread."""
NS_PER_S = 1e9
MEMORY_WORDS = ("out of memory", "out_of_memory", "outofmemory", "out of device memory", "not enough memory")
"""What drivers and frameworks say when memory is short, in lower case."""


@dataclass
class Entrant:
    """A cell in the making."""

    label: str
    """The cell's name to whoever watches."""
    sampling: Sampling
    rounds: int | None = None
    """At most so many in a launch."""
    iterations: int | None = None
    """Executions of one turn; settled by the first warm one, so that all turns weigh the same."""
    planned_launches: int = 0
    description: Description | None = None
    loaded: Loaded | None = None
    launches: list[Launch] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    verification: Verification | None = None
    status: Status | None = None
    reason: str | None = None
    log_tail: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.planned_launches = self.sampling.launches

    @property
    def alive(self) -> bool:
        """Whether it may still pass."""
        return self.status is None

    def fail(self, status: Status, reason: str, log_tail: list[str]) -> None:
        """It is out, with the first reason that it gave."""
        if self.status is None:
            self.status, self.reason, self.log_tail = status, reason, log_tail

    def fail_with(self, error: RunnerFailed, log_tail: list[str]) -> None:
        """It is out by what its runner did; one that died of too little memory, by its own last words, is out of it."""
        said = "\n".join([error.reason, *log_tail]).lower()
        died_of_memory = error.status == "crashed" and any(words in said for words in MEMORY_WORDS)
        self.fail("out_of_memory" if died_of_memory else error.status, error.reason, log_tail)

    def wants_launch(self, launch: int) -> bool:
        """Whether it takes part in this launch."""
        return self.alive and launch < self.planned_launches

    def launched(self, launch: Launch) -> None:
        """A process is ready for its first sample; the first one settles how many there will be."""
        self.launches.append(launch)
        if len(self.launches) > 1 or self.sampling.every_launch:
            return
        cost_s = ((launch.startup_ns or 0) + launch.load_ns + launch.prepare_ns + launch.first_ns) / NS_PER_S
        if cost_s * self.sampling.launches > START_BUDGETS * self.sampling.budget_s:
            affordable = max(1, math.floor(self.sampling.budget_s / cost_s))
            self.planned_launches = affordable
            self.notes.append(
                f"{affordable} of {self.sampling.launches} launches: one takes {cost_s:.3g} s before its first sample, "
                f"the budget is {self.sampling.budget_s:g} s"
            )

    def calibrate(self, execution_ns: float) -> None:
        """Settle the executions of a turn, once, from the first warm one."""
        if self.iterations is None:
            self.iterations = max(1, min(MOST_ITERATIONS, math.ceil(TURN_NS / execution_ns)))

    def is_slow(self, execution_ns: float) -> bool:
        """Whether the plan's fewest samples do not fit the budget."""
        return execution_ns * self.sampling.min_samples > self.sampling.budget_s * NS_PER_S

    def seems_slow(self, execution_ns: float) -> bool:
        """Whether a launch's first turn says so, and no samples of earlier launches say that it is only cold."""
        known_ns = self.samples_ns
        return self.is_slow(execution_ns) and (not known_ns or self.is_slow(statistics.median(known_ns)))

    def discard_cold(self, launch: int) -> float | None:
        """Where this launch's first turn was taken for a slow runner's and the next is a quick one's: count neither.

        Returns:
            The mean of the second, by which the executions of a turn are settled anew; none where both count.
        """
        here = [at for at, turn in enumerate(self.turns) if turn.launch == launch and not turn.warmup]
        if len(here) != 2 or self.turns[here[0]].round >= 0:
            return None
        first_ns, second_ns = (statistics.fmean(self.turns[at].ns) for at in here)
        if self.is_slow(second_ns) or second_ns >= WARM * first_ns:
            return None
        for at in here:
            self.turns[at] = replace(self.turns[at], warmup=True)
        if not self.steady():
            self.iterations = None
            self.calibrate(second_ns)
        return second_ns

    def steady(self, launch: int | None = None) -> list[Turn]:
        """The turns that count, of one launch or of all."""
        return [turn for turn in self.turns if not turn.warmup and launch in (None, turn.launch)]

    @property
    def samples_ns(self) -> list[int]:
        """Every execution that counts."""
        return [ns for turn in self.steady() for ns in turn.ns]

    def satisfied(self, launch: int) -> bool:
        """Whether this launch has what the plan wants of it."""
        here = self.steady(launch)
        # The first turn of all may have been cold: what it says is not believed alone.
        if not here or (launch == 0 and all(turn.round < 0 for turn in here)):
            return False
        if self.rounds is not None and sum(turn.round >= 0 for turn in here) >= self.rounds:
            return True
        samples_ns = self.samples_ns
        if sum(len(turn.ns) for turn in here) < self._fewest(statistics.median(samples_ns)):
            return False
        part = (launch + 1) / self.planned_launches
        if sum(samples_ns) >= self.sampling.budget_s * NS_PER_S * part:
            return True
        if len(here) < LAUNCH_TURNS or len(here) * self.planned_launches < FEWEST_FOR_INTERVAL:
            return False
        return len(samples_ns) >= self.sampling.max_samples * part or self._narrow(part)

    def _narrow(self, part: float) -> bool:
        """Whether the interval is as narrow as so large a part of the samples makes it: it shrinks with their root.

        So each launch takes its part of the samples; otherwise the first one would take nearly all, and what launches
        differ by could not be seen.
        """
        width = half_width([turn.ns for turn in self.steady()])
        return width is not None and width <= self.sampling.half_width / math.sqrt(part)

    def _fewest(self, execution_ns: float) -> int:
        """Samples of each launch before precision or budget may end it."""
        wanted = self.sampling.min_samples
        if self.is_slow(execution_ns):
            wanted = min(wanted, max(SLOW_SAMPLES, int(self.sampling.budget_s * NS_PER_S / execution_ns)))
        return math.ceil(wanted / self.planned_launches)

    def note_samples(self) -> None:
        """Say where there are fewer samples than the plan wants."""
        samples_ns = self.samples_ns
        if 0 < len(samples_ns) < self.sampling.min_samples and self.rounds is None:
            self.notes.append(
                f"{len(samples_ns)} samples instead of at least {self.sampling.min_samples}: one takes "
                f"{statistics.median(samples_ns) / NS_PER_S:.3g} s, the budget is {self.sampling.budget_s:g} s"
            )
