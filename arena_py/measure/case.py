"""All cells of one case, measured; every one of them has a status, whatever happens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from msgspec.structs import replace

from arena_py import scratch
from arena_py.build import Built, NotBuilt, lacking, locate
from arena_py.errors import ArenaError
from arena_py.manifest import Case, framework
from arena_py.measure.entrant import Entrant
from arena_py.measure.kept import Kept
from arena_py.measure.machine import available_bytes
from arena_py.measure.plan import Candidate, Plan
from arena_py.measure.process import Runner
from arena_py.measure.progress import Progress
from arena_py.measure.sampling import Schedule, Seat
from arena_py.measure.sweep import TooLarge, check_reference
from arena_py.measure.watch import Watch
from arena_py.results.document import Cell, Prepared, Status, Verification
from arena_py.verify import cases, gate
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles

IN_PROCESS = (
    "ran in the driver's own process: it has no start-up and no peak memory of its own, no time limit, and what one "
    "launch imported and compiled is there for the next"
)
KEPT = (
    "its process had executed an earlier case: it has no start-up of its own, what the framework imports and sets up "
    "once was there already, and its memory counts what was kept"
)
Runners: TypeAlias = Mapping[str, Built | NotBuilt]
"""What was built, by label."""


def prepare(
    case: Case, canon: Canon, plan: Plan, runners: Runners, progress: Progress
) -> CaseFiles | ArenaError | None:
    """The files of a case, why there are none, or `None` when nothing could use them.

    Raises:
        ArenaError: the weights that the user chose do not fit the model.
    """
    if not any(isinstance(runners[candidate.label], Built) for candidate in plan.candidates):
        return None
    try:
        if plan.sweep:
            check_reference(case, available_bytes())
        return cases.prepare(
            case,
            canon,
            weights=plan.weights,
            precisions=plan.precisions,
            progress=lambda what: progress.phase(case.name, what),
        )
    except ArenaError as error:
        if plan.weights not in (None, "seeded"):
            raise
        return error


class CaseMeasurement:
    """The cells of one case.

    Args:
        case: what is measured.
        plan: its variants, and how they are sampled.
        runners: what was built.
        files: what `prepare` gave.
    """

    def __init__(self, case: Case, plan: Plan, runners: Runners, files: CaseFiles | ArenaError | None) -> None:
        self.case = case
        self._plan = plan
        self._runners = runners
        self._files = files
        self.watch = Watch(case.name)
        self._entrants = {
            candidate.label: Entrant(f"{case.name} {candidate.label}", plan.sampling, plan.rounds)
            for candidate in plan.candidates
        }
        for candidate in plan.candidates:
            self._admit(candidate)

    @property
    def prepared(self) -> Prepared | None:
        """The record of the case's files."""
        return record_of(self._files)

    def run(self, progress: Progress, kept: Kept | None = None) -> None:
        """Sample and verify every variant that can be, in processes that are kept where the plan lets them be."""
        files = self._files
        if not isinstance(files, CaseFiles):
            return
        with scratch.folder() as folder:
            Schedule(
                self._seats(files, folder, kept),
                weights_bytes=files.weights.stat().st_size,
                available_bytes=available_bytes,
                shuffler=np.random.default_rng([self._plan.sampling.seed, *self.case.name.encode()]),
                progress=progress,
                watch=self.watch,
            ).run()

    def cells(self) -> list[Cell]:
        """A cell for each variant; one that was not finished says so."""
        return [self._cell(candidate) for candidate in self._plan.candidates]

    def skip(self, label: str, reason: str) -> None:
        """Leave a variant out, with the reason."""
        self._entrants[label].fail("skipped", reason, [])

    def _admit(self, candidate: Candidate) -> None:
        """Give a variant that cannot be measured its status."""
        runner, entrant = self._runners[candidate.label], self._entrants[candidate.label]
        precision, gated = candidate.variant.precision, self._plan.suite.gate
        if isinstance(runner, NotBuilt):
            status: Status = "unavailable" if runner.declared else "not_built"
            entrant.fail(status, _with_hint(runner.reason, runner.hint), list(runner.log_tail))
        elif runner.missing:
            lacks = lacking(runner.missing)
            entrant.fail("unavailable", _with_hint(lacks.reason, lacks.hint), [])
        elif precision not in gated:
            known = ", ".join(gated)
            entrant.fail("unsupported", f"suite {self._plan.suite_name} has a gate for {known}, not {precision}", [])
        elif isinstance(self._files, TooLarge):
            entrant.fail("skipped", self._files.message, [])
        elif isinstance(self._files, ArenaError):
            # Nothing can be verified without the reference, and nothing that is not verified is measured.
            reason = f"the case could not be prepared: {_with_hint(self._files.message, self._files.hint)}"
            reference_is_there = isinstance(locate_reference(), Built)
            entrant.fail("crashed" if reference_is_there else "not_built", reason, [])
        elif self._files is not None and (problem := self._files.problem_in(precision, gated[precision])):
            entrant.fail("unsupported", problem, [])

    def _seats(self, files: CaseFiles, scratch: Path, kept: Kept | None) -> list[Seat]:
        seats = []
        for candidate in self._plan.candidates:
            entrant, built = self._entrants[candidate.label], self._runners[candidate.label]
            if entrant.alive and isinstance(built, Built):
                if built.in_process:
                    entrant.notes.append(IN_PROCESS)
                seats.append(Seat(Runner.of(self._plan, candidate, built, files, scratch, kept=kept), entrant))
        return seats

    def _cell(self, candidate: Candidate) -> Cell:
        entrant, runner = self._entrants[candidate.label], self._runners[candidate.label]
        status, reason = _verdict(entrant)
        own_process = isinstance(runner, Built) and not runner.in_process
        kept = [KEPT] if own_process and any(launch.startup_ns is None for launch in entrant.launches) else []
        return Cell(
            framework=candidate.framework.name,
            variant=candidate.variant.name,
            language=candidate.framework.language,
            backend=candidate.variant.backend,
            model=self.case.model.name,
            task=self.case.task,
            shape=self.case.shape.name,
            unit=self.case.shape.unit,
            units_per_execution=self.case.units_per_execution,
            steps_per_execution=self.case.options.new_tokens,
            status=status,
            reason=reason,
            boundary=candidate.variant.boundary,
            precision=candidate.variant.precision,
            threads=self._plan.threads,
            device=entrant.loaded.device if entrant.loaded else None,
            description=entrant.description,
            build=runner.record if isinstance(runner, Built) else None,
            parameters=entrant.loaded.parameters if entrant.loaded else None,
            parameter_bytes=entrant.loaded.parameter_bytes if entrant.loaded else None,
            shipped_bytes=runner.shipped_bytes if isinstance(runner, Built) else None,
            verification=_storable(entrant.verification) if entrant.verification else None,
            launches=entrant.launches,
            turns=entrant.turns,
            notes=[*entrant.notes, *kept],
            log_tail=entrant.log_tail,
        )


def locate_reference() -> Built | NotBuilt:
    """The environment that computes the reference."""
    found = framework("pytorch")
    return locate(found, found.variants[0])


def _with_hint(message: str, hint: str | None) -> str:
    return f"{message} ({hint})" if hint else message


def _verdict(entrant: Entrant) -> tuple[Status, str | None]:
    if entrant.status is not None:
        return entrant.status, entrant.reason
    if entrant.verification is None:
        return "unavailable", "interrupted before its numbers were verified"
    reason = gate.reason(entrant.verification)
    return ("wrong", reason) if reason else ("passed", None)


def _storable(verification: Verification) -> Verification:
    """JSON has no NaN: a loss that is none is stored as absent."""
    loss = verification.loss
    return replace(verification, loss=loss if loss is not None and math.isfinite(loss) else None)


def record_of(files: CaseFiles | ArenaError | None) -> Prepared | None:
    """The record of a case's files, where there are any."""
    if not isinstance(files, CaseFiles):
        return None
    return Prepared(
        case=files.case.name,
        architecture=files.case.model.file.architecture,
        config=files.case.model.file.config,
        weights_source=files.weights_source,
        weights_sha256=files.weights_sha256,
        inputs_sha256=files.recorded.inputs_sha256,
        bound_inputs_sha256=files.recorded.later_inputs_sha256,
        reference_sha256=files.recorded.expected_sha256,
        noise=files.noise,
    )
