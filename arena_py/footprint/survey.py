"""Everything that an audit was asked for: which variants on which cases, and the document of what was found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from arena_py import __version__, scratch
from arena_py.build import Built, NotBuilt, locate, process
from arena_py.errors import ArenaError
from arena_py.footprint import audit, symbols
from arena_py.footprint.audit import of_path
from arena_py.footprint.document import SCHEMA, Audit, Entry, Status
from arena_py.footprint.progress import Progress, Silent
from arena_py.footprint.sbom import file_name
from arena_py.manifest import Case, model
from arena_py.measure.machine import machine
from arena_py.measure.plan import Candidate, Plan, Selection, make_plan
from arena_py.measure.process import Runner
from arena_py.results.store import now
from arena_py.verify import cases
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles

Say = Callable[[str], None]
TASKS = ("infer", "decode", "train")
"""Whose memory is weighed when no task is named."""
TOOLS = ("strace", "cargo")

__all__ = ["Asked", "document", "of_path", "of_variants", "only", "smallest"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The words of the command line."""

    selectors: Sequence[str]
    """Every framework when empty."""
    model: str
    tasks: Sequence[str] = ()
    launches: int = 20
    budget_s: float | None = None
    """Seconds that all launches of one variant may take."""
    threads: int | None = None
    weights: str | None = None
    memory: bool = True
    symbols: bool = False

    @property
    def plan(self) -> Plan:
        """The variants, and the cases of the tasks that are wanted, the smallest input's first."""
        chosen = model(self.model)
        has = dict.fromkeys(case.task for case in chosen.cases)
        wanted = list(self.tasks or [task for task in TASKS if task in has]) if self.memory else []
        tasks = list(dict.fromkeys([smallest(self.model).task, *wanted]))
        return make_plan(
            Selection(
                models=[self.model],
                frameworks=self.selectors,
                tasks=tasks,
                threads=self.threads,
                weights=self.weights,
            )
        )


def smallest(name: str) -> Case:
    """The case that a model is started on: `latency` where it has one, else `infer`.

    Raises:
        ArenaError: it has neither.
    """
    found = model(name).cases
    for task in ("latency", "infer"):
        for case in found:
            if case.task == task:
                return case
    raise ArenaError(f"model {name} has no case of latency or infer")


def of_variants(asked: Asked, progress: Progress) -> Iterator[Entry]:
    """An entry for each variant of the plan, built or not, as it is finished.

    Raises:
        ArenaError: an unknown name, or the reference cannot be computed.
    """
    plan = asked.plan
    outcomes = {candidate.label: locate(candidate.framework, candidate.variant) for candidate in plan.candidates}
    files: dict[str, CaseFiles] = {}
    if any(isinstance(outcome, Built) for outcome in outcomes.values()):
        with Canon(plan.threads) as canon:
            for case in plan.cases:
                files[case.name] = cases.prepare(
                    case, canon, weights=plan.weights, precisions=plan.precisions, progress=progress.note
                )
    with scratch.folder() as folder:
        survey = _Survey(asked, plan, files, folder, progress)
        for position, candidate in enumerate(plan.candidates, start=1):
            progress.begin(candidate.label, position, len(plan.candidates))
            try:
                entry = survey.entry(candidate, outcomes[candidate.label])
            except OSError as error:  # An environment that is made anew meanwhile, a disk that failed: not the others'.
                entry = _absent(candidate, "unreadable", (error.strerror or str(error)).lower())
            yield replace(entry, sbom=file_name(entry.label)) if entry.components else entry


def only(asked: Asked, scratch: Path, say: Say) -> Runner:
    """The one variant that was asked for, on the model's smallest input.

    Raises:
        ArenaError: it is not one, is not built, cannot be verified, or the reference cannot be computed.
    """
    plan = asked.plan
    if len(plan.candidates) != 1:
        known = ", ".join(candidate.label for candidate in plan.candidates)
        raise ArenaError(f"{' '.join(asked.selectors)} has several variants", hint=f"choose one of {known}")
    (candidate,) = plan.candidates
    built = locate(candidate.framework, candidate.variant)
    if isinstance(built, NotBuilt):
        hint = built.hint or f"python -m arena_py build {candidate.label}"
        raise ArenaError(f"{candidate.label} is not built: {built.reason}", hint=hint, exit_code=1)
    if candidate.variant.precision not in plan.suite.gate:
        raise ArenaError(f"suite {plan.suite_name} has no gate for {candidate.variant.precision}")
    with Canon(plan.threads) as canon:
        files = cases.prepare(
            smallest(asked.model), canon, weights=plan.weights, precisions=plan.precisions, progress=say
        )
    runner = _Survey(asked, plan, {}, scratch, Silent()).runner(candidate, built, files)
    if runner.problem:
        raise ArenaError(f"{candidate.label} on {files.case.name}: {runner.problem}", exit_code=1)
    return runner


def document(asked: Asked, identity: str, command: list[str]) -> Audit:
    """What is stored, before anything is found out."""
    return Audit(
        schema=SCHEMA,
        arena=__version__,
        id=identity,
        started=now(),
        command=command,
        model=asked.model,
        threads=asked.plan.threads,
        machine=machine(),
        tools=dict(_tools()),
        entries=[],
    )


@dataclass(frozen=True)
class _Survey:
    """Variants on the files of their cases."""

    asked: Asked
    plan: Plan
    files: Mapping[str, CaseFiles]
    scratch: Path
    progress: Progress

    def entry(self, candidate: Candidate, outcome: Built | NotBuilt) -> Entry:
        """One variant, built or not."""
        precision, gated = candidate.variant.precision, self.plan.suite.gate
        if isinstance(outcome, NotBuilt):
            hint = f" ({outcome.hint})" if outcome.hint else ""
            return _absent(candidate, "unavailable" if outcome.declared else "not_built", f"{outcome.reason}{hint}")
        if precision not in gated:
            known = f"suite {self.plan.suite_name} has a gate for {', '.join(gated)}, not {precision}"
            return _absent(candidate, "unsupported", known)
        runners = [self.runner(candidate, outcome, self.files[case.name]) for case in self.plan.cases]
        first = next(each for each in runners if each.files.case == smallest(self.asked.model))
        if problem := first.problem:
            return _absent(candidate, "unsupported", problem)
        weighed = self.asked.tasks or TASKS
        named, notes = self._symbols(candidate, outcome)
        entry = audit.of_variant(
            first,
            tasks=[each for each in runners if each.files.case.task in weighed] if self.asked.memory else (),
            launches=self.asked.launches,
            budget_s=self.asked.budget_s,
            symbols=named,
            progress=self.progress,
        )
        return replace(entry, notes=[*notes, *entry.notes])

    def _symbols(self, candidate: Candidate, built: Built) -> tuple[Path | None, list[str]]:
        if not self.asked.symbols or candidate.framework.language != "rust":
            return None, []
        made = symbols.build(candidate.framework, built.record, self.progress)
        return (made, []) if isinstance(made, Path) else (None, [f"it could not be built with symbols: {made}"])

    def runner(self, candidate: Candidate, built: Built, files: CaseFiles) -> Runner:
        """A variant on the files of one case."""
        return Runner.of(self.plan, candidate, built, files, self.scratch)


def _absent(candidate: Candidate, status: Status, reason: str) -> Entry:
    return Entry(
        label=candidate.label,
        kind="environment" if candidate.framework.language == "python" else "executable",
        status=status,
        reason=reason,
        version=candidate.framework.version,
    )


def _tools() -> Iterator[tuple[str, str]]:
    for name in TOOLS:
        path = shutil.which(name)
        said = process.output([path, "--version"]) if path else None
        if said:
            yield name, said.splitlines()[0].strip()
