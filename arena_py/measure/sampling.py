"""The schedule of a case: launches of shuffled rounds over its variants, one running at a time.

Every variant that fits into memory has a process that is loaded, prepared and idle; in each round, in an order shuffled
anew, each takes a turn (`measure/entrant.py` says how long it is and when it was the last). What does not fit waits for
the next group of the same launch. In its last launch a runner is given other inputs before it is warmed up. After the
rounds each runner says its peak memory, and the gate compares everything that the last timed execution of all computed.
One whose executions change the model is compared before its first sample instead, after the reference's own steps. At
the very end it is looked at whether the samples of a runner that passed end when its results are there.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from arena_py.contract.session import RunnerFailed
from arena_py.measure import unfinished
from arena_py.measure.contender import Contender, Process
from arena_py.measure.entrant import WARM, WARMUP_TURNS, Entrant
from arena_py.measure.progress import Progress
from arena_py.measure.watch import Unwatched, Watch
from arena_py.results.document import Launch, Turn

FOOTPRINT = 4
"""A runner that was never seen is taken to need so many times the weights file."""
BEFORE_ROUNDS = -1


@dataclass
class Seat:
    """A contender, its entrant, and its process of the current launch."""

    contender: Contender
    entrant: Entrant
    process: Process | None = None
    peak_bytes: int | None = None
    leave: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class Schedule:
    """Samples one case.

    Args:
        seats: the variants.
        weights_bytes: size of the weights file, for the first guess of a runner's memory.
        available_bytes: memory that another process could take now.
        shuffler: decides every order.
        progress: told what happens.
        watch: looks at the machine before each round; nobody does when absent.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        weights_bytes: int,
        available_bytes: Callable[[], int],
        shuffler: np.random.Generator,
        progress: Progress,
        watch: Watch | None = None,
    ) -> None:
        self._seats = list(seats)
        self._weights_bytes = weights_bytes
        self._available_bytes = available_bytes
        self._shuffler = shuffler
        self._progress = progress
        self._watch = watch or Unwatched()
        self._order = 0

    def run(self) -> None:
        """Every launch of every variant; what fails is out and leaves the others alone."""
        launch = 0
        while waiting := [seat for seat in self._seats if seat.entrant.wants_launch(launch)]:
            waiting = self._shuffled(waiting)
            while waiting:
                waiting = self._group(waiting, launch)
            launch += 1
        for seat in self._seats:
            seat.entrant.note_samples()

    def _group(self, waiting: list[Seat], launch: int) -> list[Seat]:
        """Launch as many as fit, run their rounds, end them; those that are left."""
        group: list[Seat] = []
        with contextlib.ExitStack() as processes:
            while waiting and (not group or self._fits(waiting[0])):
                seat = waiting.pop(0)
                seat.leave = processes.enter_context(contextlib.ExitStack())
                if self._launch(seat, launch):
                    group.append(seat)
            if waiting:
                for seat in (*group, *waiting):
                    _note(seat.entrant, "not interleaved with every other variant: too little memory for all at once")
            self._watch.launch()
            self._rounds(group, launch)
            for seat in self._shuffled(group):
                self._end(seat, launch)
        return waiting

    def _fits(self, seat: Seat) -> bool:
        seen = [other.peak_bytes for other in self._seats if other.peak_bytes]
        needed = seat.peak_bytes or max([*seen, FOOTPRINT * self._weights_bytes])
        return needed <= self._available_bytes()

    def _launch(self, seat: Seat, launch: int) -> bool:
        entrant = seat.entrant
        try:
            self._say(seat, launch, "starting")
            process = seat.process = seat.leave.enter_context(seat.contender.launch())
            entrant.description = process.description
            self._say(seat, launch, "loading the weights")
            entrant.loaded = process.load()
            self._say(seat, launch, "preparing, first execution")
            prepared = process.prepare()
            entrant.launched(
                Launch(
                    startup_ns=process.startup_ns,
                    load_ns=entrant.loaded.load_ns,
                    prepare_ns=prepared.prepare_ns,
                    first_ns=prepared.first_ns,
                )
            )
            if use := process.usage():
                seat.peak_bytes = use.peak_rss_bytes
            if self._is_last(seat, launch):
                with self._watch.verifying():
                    curve = process.rebind()
                if seat.contender.changes_itself:
                    self._account(seat, launch, curve)
            self._say(seat, launch, "warming up")
            self._warm_up(seat, launch)
        except RunnerFailed as error:
            self._out(seat, launch, error)
            return False
        return True

    def _warm_up(self, seat: Seat, launch: int, last_ns: float = math.inf) -> None:
        """Turns that do not count, until one is no longer faster; a slow runner's first execution was enough."""
        entrant = seat.entrant
        for _ in range(WARMUP_TURNS):
            turn = self._turn(seat, launch, BEFORE_ROUNDS, warmup=True)
            mean_ns = statistics.fmean(turn.ns)
            entrant.calibrate(mean_ns)
            if entrant.seems_slow(mean_ns):
                entrant.turns[-1] = replace(turn, warmup=False)
                self._progress.sampled(entrant.label, turn.ns)
                return
            if mean_ns >= WARM * last_ns:
                return
            last_ns = mean_ns

    def _rounds(self, group: list[Seat], launch: int) -> None:
        """Shuffled rounds, until nobody needs another."""
        round_ = 0
        while playing := [seat for seat in group if seat.process and not seat.entrant.satisfied(launch)]:
            self._watch.round(launch, round_)
            for seat in self._shuffled(playing):
                self._say(seat, launch, f"round {round_ + 1}")
                try:
                    self._turn(seat, launch, round_)
                    if warm_ns := seat.entrant.discard_cold(launch):
                        self._warm_up(seat, launch, warm_ns)
                except RunnerFailed as error:
                    self._out(seat, launch, error)
            round_ += 1

    def _turn(self, seat: Seat, launch: int, round_: int, *, warmup: bool = False) -> Turn:
        assert seat.process
        with self._watch.running():
            samples = seat.process.run(seat.entrant.iterations or 1)
        turn = Turn(
            launch=launch,
            round=round_,
            order=self._order,
            warmup=warmup,
            ns=samples.samples_ns,
            first_token_ns=samples.first_token_ns,
            joules=self._watch.joules,
        )
        self._order += 1
        seat.entrant.turns.append(turn)
        if not warmup:
            self._progress.sampled(seat.entrant.label, turn.ns)
        return turn

    def _end(self, seat: Seat, launch: int) -> None:
        """What is to be known at the end of a launch; then the process goes."""
        if seat.process is None:
            return
        try:
            if not (seat.contender.changes_itself and self._is_last(seat, launch)):
                self._account(seat, launch, curve=[])
            self._require_finished(seat)
        except RunnerFailed as error:
            self._out(seat, launch, error)
            return
        self._leave(seat, launch)

    def _require_finished(self, seat: Seat) -> None:
        """Take out a verified runner whose samples end before its results are there: they say too little."""
        entrant, process = seat.entrant, seat.process
        assert process
        if entrant.verification is None or not entrant.verification.passed:
            return
        execution_ns = statistics.median(entrant.samples_ns)
        with self._watch.verifying():
            more_ns = process.unfinished_ns(execution_ns)
        if more_ns:
            reason = unfinished.told(more_ns, execution_ns)
            entrant.fail("wrong", reason, process.log_tail())
            self._progress.failed(entrant.label, f"wrong: {reason}")

    def _account(self, seat: Seat, launch: int, curve: list[float]) -> None:
        """Peak memory; in the last launch the gate, which comes after it since what it asks for takes memory, too."""
        entrant, process = seat.entrant, seat.process
        assert process
        if use := process.usage():
            seat.peak_bytes = max(seat.peak_bytes or 0, use.peak_rss_bytes)
            entrant.launches[-1] = replace(
                entrant.launches[-1], peak_rss_bytes=use.peak_rss_bytes, device_bytes=use.device_bytes
            )
        if self._is_last(seat, launch):
            self._say(seat, launch, "verifying")
            with self._watch.verifying():
                entrant.verification = process.verify(curve)

    def _is_last(self, seat: Seat, launch: int) -> bool:
        return launch + 1 == seat.entrant.planned_launches

    def _out(self, seat: Seat, launch: int, error: RunnerFailed) -> None:
        seat.entrant.fail_with(error, seat.process.log_tail() if seat.process else [])
        self._progress.failed(seat.entrant.label, f"{error.status}: {error.reason}")
        self._leave(seat, launch)

    def _leave(self, seat: Seat, launch: int) -> None:
        seat.process = None
        seat.leave.close()
        launches = seat.entrant.planned_launches if seat.entrant.alive else launch + 1
        self._progress.launched(seat.entrant.label, launch, launches)

    def _shuffled(self, seats: list[Seat]) -> list[Seat]:
        return [seats[position] for position in self._shuffler.permutation(len(seats))]

    def _say(self, seat: Seat, launch: int, what: str) -> None:
        count = seat.entrant.planned_launches
        self._progress.phase(seat.entrant.label, f"launch {launch + 1} of {count}: {what}")


def _note(entrant: Entrant, text: str) -> None:
    if text not in entrant.notes:
        entrant.notes.append(text)
