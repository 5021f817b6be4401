"""The gate's own test: runners with one mistake each, none of which may pass, and right runners, all of which must.

How well the gate tells them apart is the *separation* of a trial: how many times the largest error of any right runner
the nearest wrong runner makes. Errors are taken as the gate takes them, tensor by tensor against the largest right one
of the tensor's group; a wrong runner counts with its worst tensor, since one is enough to be rejected.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from arena_py import places
from arena_py.build import python_of
from arena_py.contract.session import RunnerFailed
from arena_py.frameworks.defects import DEFECTS, applicable
from arena_py.results.document import TensorError, Verification
from arena_py.verify.conformance import Bench, Target
from arena_py.verify.gate import reason
from arena_py.verify.norms import group_of
from arena_py.verify.trials import Trial
from arena_py.verify.updates import UNIT_ROUNDOFF

SEPARATION = 10.0
"""At least so many times the largest right error the smallest wrong one must be."""
WRONG = "wrong"
"""The runner whose backends are the mistakes."""
NO_MISTAKE = "without a mistake"
"""How it is called without one."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One runner on one trial."""

    trial: str
    runner: str
    """`FRAMEWORK:VARIANT`, or the mistake's name."""
    verification: Verification | None
    failure: str | None = None
    """Why there is no verification: in the runner's words."""
    declared: bool = False
    """Whether it failed by saying that it cannot do this."""

    @property
    def passed(self) -> bool:
        """Whether the gate lets it pass."""
        return self.verification is not None and self.verification.passed

    @property
    def rejected(self) -> bool:
        """Whether the gate was asked and said no; a runner that crashed was not judged."""
        return self.verification is not None and not self.verification.passed

    @property
    def why(self) -> str:
        """Why it did not pass."""
        return self.failure or (reason(self.verification) if self.verification else None) or "passed"


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """How near a wrong runner comes to being right: by the tensor that gives it away most."""

    defect: str
    tensor: TensorError
    right: float
    """The largest right error of the tensor's group, or of the tensor where its own noise is known."""

    @property
    def separation(self) -> float:
        """How many times the one is the other."""
        return math.inf if self.tensor.error is None else self.tensor.error / self.right


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All runners on one trial."""

    trial: str
    right: list[Examined]
    wrong: list[Examined]
    by_defect: list[Nearest]
    """How near each wrong runner comes; those that already show in the set of their tensors are not here."""

    @property
    def nearest(self) -> Nearest | None:
        """The wrong runner that is hardest to tell from a right one."""
        return min(self.by_defect, key=lambda each: each.separation, default=None)

    @property
    def problems(self) -> list[str]:
        """What must not be: empty when the gate tells right from wrong here."""
        found = [f"{one.runner} is right and does not pass: {one.why}" for one in self.right if not one.passed]
        for one in self.wrong:
            if one.passed:
                found.append(f"{one.runner} passes")
            elif not one.rejected:
                found.append(f"{one.runner} could not be tried: {one.why}")
        if self.nearest and self.nearest.separation < SEPARATION:
            found.append(
                f"{self.nearest.defect} is only {self.nearest.separation:.1f} times as wrong as the right ones"
            )
        return found


def wrong_target(backend: str, threads: int) -> Target:
    """PyTorch with the mistake `backend`, or without one as `cpu`."""
    return Target(
        label=backend,
        command=[str(python_of("pytorch")), str(places.PACKAGE / "worker.py"), WRONG],
        backend=backend,
        environment={},
        threads=threads,
    )


class SelfTest:
    """Tries right and wrong runners; a context manager that keeps their processes.

    Args:
        rights: every runner that is taken to be right.
        threads: CPU threads of each wrong runner.
        defects: only these mistakes; all when empty.
        wrong: whether wrong runners are tried at all.
    """

    def __init__(
        self, rights: Sequence[Target], threads: int, defects: Iterable[str] = (), *, wrong: bool = True
    ) -> None:
        self._threads = threads
        self._defects = [name for name in DEFECTS if wrong and (not defects or name in defects)]
        self._processes = contextlib.ExitStack()
        self._rights = [(target, Bench(target)) for target in rights]
        self._wrong = Bench(wrong_target("cpu", threads))

    def __enter__(self) -> SelfTest:
        for bench in (*(bench for _, bench in self._rights), self._wrong):
            self._processes.enter_context(bench)
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        """One outcome a trial, as soon as it is known."""
        for trial in trials:
            right = [examine(trial, target, bench) for target, bench in self._rights]
            if self._defects:
                # The same program without a mistake: it must pass, or the others would prove nothing.
                right.append(examine(trial, wrong_target("cpu", self._threads), self._wrong, name=NO_MISTAKE))
            wrong = [
                examine(trial, wrong_target(defect.name, self._threads), self._wrong)
                for defect in applicable(trial.subject)
                if defect.name in self._defects
            ]
            judged = [one for one in right if not one.declared]
            yield Outcome(trial=trial.name, right=judged, wrong=wrong, by_defect=nearest(trial, judged, wrong))


def examine(trial: Trial, target: Target, bench: Bench, *, name: str | None = None) -> Examined:
    """One runner on one trial; what fails is told and leaves a fresh process to the next."""
    label = name or target.label
    try:
        verification = trial.decide(bench.session(), target, bench.scratch)
    except RunnerFailed as error:
        bench.drop()
        declared = error.status in ("unsupported", "unavailable")
        return Examined(trial=trial.name, runner=label, verification=None, failure=error.reason, declared=declared)
    return Examined(trial=trial.name, runner=label, verification=verification)


def nearest(trial: Trial, right: Sequence[Examined], wrong: Sequence[Examined]) -> list[Nearest]:
    """Of each wrong runner the tensor that gives it away most.

    No right error is taken to be smaller than float32's unit roundoff, however lucky a scalar was.
    """
    largest = {name: max(error, UNIT_ROUNDOFF) for name, error in trial.noise.items()}
    for each in _tensors(right):
        key = _key(each, trial)
        largest[key] = max(largest.get(key, UNIT_ROUNDOFF), each.error or 0.0)
    found = []
    for one in wrong:
        # A tensor that is missing gives a runner away without any error, ids are right or wrong.
        if one.verification is None or one.verification.problems:
            continue
        candidates = [
            Nearest(defect=one.runner, tensor=each, right=largest[_key(each, trial)])
            for each in one.verification.tensors
            if each.limit > 0
        ]
        if candidates:
            found.append(max(candidates, key=lambda each: each.separation))
    return found


def _key(tensor: TensorError, trial: Trial) -> str:
    """Whose noise its limit is made from: its own where that is known, or its group's."""
    return tensor.name if tensor.name in trial.noise else group_of(tensor.name)


def _tensors(examined: Sequence[Examined]) -> Iterator[TensorError]:
    for one in examined:
        if one.verification is not None:
            yield from (each for each in one.verification.tensors if each.limit > 0)
