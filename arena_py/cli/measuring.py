"""What the verbs that measure share: runners, files, and a run from its first missing case to its document."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arena_py import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from arena_py.errors import ArenaError
    from arena_py.manifest import Case
    from arena_py.measure.case import CaseMeasurement, Runners
    from arena_py.measure.plan import Plan
    from arena_py.measure.progress import Progress
    from arena_py.measure.roofline import Ceiling
    from arena_py.results.begun import Begun, Request
    from arena_py.results.document import Machine, Run
    from arena_py.results.journal import Measured, Resumed
    from arena_py.results.store import RunFolder
    from arena_py.verify.cases import CaseFiles

    Files = Mapping[str, CaseFiles | ArenaError | None]


def tidied(meanwhile: Console) -> None:
    """Remove what drivers left that were killed, and say so."""
    from arena_py import leftovers

    if removed := leftovers.sweep():
        meanwhile.print(
            f"removed what an Arena that was killed had left: {len(removed)} in artifacts", markup=False, soft_wrap=True
        )


def runners_of(plan: Plan, meanwhile: Console, *, build: bool, in_process: bool = False) -> Runners:
    """What each candidate is started by; PyTorch's environment is needed for the reference in any case."""
    from arena_py import build as builds
    from arena_py.build.progress import shown

    here = {
        candidate.label: builds.in_process(candidate.framework, candidate.variant)
        for candidate in plan.candidates
        if in_process and candidate.framework.language == "python"
    }
    others = [candidate for candidate in plan.candidates if candidate.label not in here]
    if build:
        with shown(meanwhile) as progress:
            made = builds.ensure(dict.fromkeys(["pytorch", *(candidate.label for candidate in others)]), progress)
        return {**made, **here}
    found = {candidate.label: builds.locate(candidate.framework, candidate.variant) for candidate in others}
    return {**found, **here}


def prepared_files(plan: Plan, runners: Runners, progress: Progress, cases: Iterable[Case] | None = None) -> Files:
    """Weights, inputs and reference of cases, by default of all, before anything is timed."""
    from arena_py.measure.case import prepare
    from arena_py.verify.canon import Canon

    with Canon(plan.threads) as canon:
        return {
            case.name: prepare(case, canon, plan, runners, progress)
            for case in (plan.cases if cases is None else cases)
        }


@contextlib.contextmanager
def sits(folder: RunFolder, meanwhile: Console) -> Iterator[None]:
    """Say how a run goes on that ends in the block before its time."""
    from arena_py.cli.app import program
    from arena_py.results import store

    name = folder.id if folder.path.parent == store.results() else str(folder.path)
    go_on = f"{program()} compare --resume {name}"
    meanwhile.print(f"measuring into {folder.path}", markup=False, soft_wrap=True)
    try:
        yield
    except BaseException:
        meanwhile.print(f"to take it up again: {go_on}", markup=False, soft_wrap=True)
        raise


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """One go at a run, from its start or from where an earlier one was cut off.

    Args:
        plan: of the whole run.
        runners: what was built.
        files: of the cases that are to be measured.
        ceiling: what the machine could do.
        begun: what the run began with.
        kept: cases of earlier sittings.
        resumed: this and earlier times that it was taken up.
    """

    plan: Plan
    runners: Runners
    files: Files
    ceiling: Ceiling
    begun: Begun
    kept: Mapping[str, Measured] = field(default_factory=dict)
    resumed: Sequence[Resumed] = ()

    @property
    def missing(self) -> list[Case]:
        """The cases that are to be measured."""
        return [case for case in self.plan.cases if case.name not in self.kept]

    def measured(self, folder: RunFolder, progress: Progress) -> Run:
        """Case by case; whatever ends it early, what was found is kept."""
        from arena_py.measure.case import CaseMeasurement
        from arena_py.measure.kept import Kept
        from arena_py.measure.sweep import Ended
        from arena_py.report.markdown import markdown
        from arena_py.results.store import now

        plan = self.plan
        measurements = {
            case.name: CaseMeasurement(case, plan, self.runners, self.files[case.name]) for case in self.missing
        }
        found = dict(self.kept)
        ended = Ended()
        for case in plan.cases:
            for cell in self.kept[case.name].cells if case.name in self.kept else ():
                ended.take(case, cell)
        finished, started_ns = None, time.perf_counter_ns()
        progress.plan(len(measurements) * len(plan.candidates), plan.sampling.launches)
        try:
            with Kept() as processes:
                for name, measurement in measurements.items():
                    started_ns = time.perf_counter_ns()
                    for label, reason in ended.of(measurement.case) if plan.sweep else ():
                        measurement.skip(label, reason)
                    measurement.run(progress, processes)
                    entry = self._entry(measurement, time.perf_counter_ns() - started_ns)
                    folder.append(entry)
                    found[name] = entry
                    for cell in entry.cells:
                        progress.done(cell)
                        ended.take(measurement.case, cell)
                    progress.ended(entry.cells)
            finished = now()
        finally:
            for name, measurement in measurements.items():
                if name not in found:
                    # The first of them was cut off, the others were not begun.
                    found[name] = self._entry(measurement, time.perf_counter_ns() - started_ns)
                    started_ns = time.perf_counter_ns()
            run = self._document(folder.id, [found[case.name] for case in plan.cases], finished)
            folder.finish(run, markdown(run))
        return run

    def _entry(self, measurement: CaseMeasurement, wall_ns: int) -> Measured:
        """What is known of a case."""
        from arena_py.results.energy import with_energy
        from arena_py.results.journal import Measured, Spent
        from arena_py.results.summary import summarised

        seed, watch = self.plan.sampling.seed, measurement.watch
        floor = self.begun.noise_floor.get(measurement.case.task, 0.0)
        cells = self.ceiling.of(summarised(measurement.cells(), seed=seed, floor=floor))
        return Measured(
            case=measurement.case.name,
            prepared=measurement.prepared,
            cells=with_energy(cells, watch.observations, seed=seed),
            observations=watch.observations,
            spent=Spent(
                wall_ns=wall_ns, verify_ns=watch.verify_ns, run_ns=watch.run_ns, driver_cpu_ns=watch.driver_cpu_ns
            ),
        )

    def _document(self, name: str, entries: Sequence[Measured], finished: str | None) -> Run:
        from arena_py.measure.breakdown import breakdown
        from arena_py.measure.warnings import warnings
        from arena_py.results.document import SCHEMA, Run, Settings

        plan, begun = self.plan, self.begun
        cells = [cell for entry in entries for cell in entry.cells]
        observations = [observation for entry in entries for observation in entry.observations]
        preparation_ns = begun.preparation_ns + sum(each.preparation_ns for each in self.resumed)
        return Run(
            schema=SCHEMA,
            arena=__version__,
            id=name,
            started=begun.started,
            finished=finished,
            resumed=[each.at for each in self.resumed],
            command=begun.command,
            suite=plan.suite_name,
            seed=plan.sampling.seed,
            threads=plan.threads,
            machine=begun.machine,
            settings=Settings(
                sampling=plan.sampling,
                gate=dict(plan.suite.gate),
                rounds=plan.rounds,
                weights=plan.weights,
                sweep=plan.sweep,
                noise_floor=begun.noise_floor,
            ),
            cases=[entry.prepared for entry in entries if entry.prepared],
            cells=cells,
            observations=observations,
            breakdown=breakdown(cells, [entry.spent for entry in entries], preparation_ns=preparation_ns),
            roofline=self.ceiling.roofline,
            device_rooflines=self.ceiling.devices,
            warnings=warnings(begun.machine, plan.threads, cells, observations)
            + self.ceiling.problems
            + ([f"the run was cut off and taken up again {_times(len(self.resumed))}"] if self.resumed else [])
            + ([] if finished else ["the run was interrupted before its end"]),
        )


def begins(
    plan: Plan,
    runners: Runners,
    files: Files,
    ceiling: Ceiling,
    machine: Machine,
    *,
    request: Request | None = None,
    preparation_ns: int = 0,
) -> Begun:
    """What a run begins with.

    Args:
        plan: what is measured.
        runners: what was built.
        files: of every case.
        ceiling: what the machine could do.
        machine: as it was before the run.
        request: what it was asked for; none when it cannot be taken up.
        preparation_ns: spent on the files.
    """
    from arena_py.build import NotBuilt
    from arena_py.measure.case import record_of
    from arena_py.results import begun, noise
    from arena_py.results.store import now

    floor = noise.load(machine, plan.threads)
    prepared = [record for each in files.values() if (record := record_of(each))]
    return begun.Begun(
        schema=begun.SCHEMA,
        started=now(),
        command=["arena", *sys.argv[1:]],
        request=request,
        facts=begun.facts(plan, runners, machine) | begun.facts_of_files(prepared),
        machine=machine,
        noise_floor={
            case.task: noise.floor_of(floor, case.task) for case in plan.cases if floor and case.task in floor.tasks
        },
        absent={
            label: begun.Absent(
                reason=each.reason, hint=each.hint, declared=each.declared, log_tail=list(each.log_tail)
            )
            for label, each in runners.items()
            if isinstance(each, NotBuilt)
        },
        roofline=ceiling.roofline,
        device_rooflines=ceiling.devices,
        flops=ceiling.flops,
        problems=ceiling.problems,
        preparation_ns=preparation_ns,
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
