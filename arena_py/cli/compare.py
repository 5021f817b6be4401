"""`compare`: build what is missing, measure, verify, rank."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py import __version__
from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from arena_py.measure.case import Runners
    from arena_py.measure.plan import Plan
    from arena_py.measure.progress import Progress
    from arena_py.measure.roofline import Ceiling
    from arena_py.results.document import Cell, Run
    from arena_py.results.store import RunFolder
    from arena_py.verify.cases import CaseFiles

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]
BROKEN = ("wrong", "out_of_memory", "crashed", "timed_out", "not_built")
"""Statuses that make a run end with 1; `unsupported` and `unavailable` are declared."""


def compare(
    *,
    suite: str = "default",
    model: Several = None,
    framework: Several = None,
    task: Several = None,
    launches: int | None = None,
    rounds: int | None = None,
    budget: float | None = None,
    threads: int | None = None,
    weights: str | None = None,
    build: Annotated[bool, Parameter(negative="--no-build")] = True,
    format: Literal["table", "md", "csv", "json"] = "table",  # noqa: A002 (the option's name)
    output: Path | None = None,
    seed: int | None = None,
    save_baseline: str | None = None,
    baseline: str | None = None,
    fail_above: str | None = None,
    python_env: Literal["own", "current"] = "own",
    in_process: Annotated[bool, Parameter(negative=())] = False,
    timeout: Several = None,
    limit: Several = None,
    boundary: Literal["host", "device"] | None = None,
    sweep: Several = None,
) -> int:
    """Measure frameworks on models, and rank those that are right.

    Builds what is missing, proves every number against the float64 reference, samples all variants side by side, and
    keeps everything in artifacts/results. Ends with 0 when every cell that was asked for passed or is declared
    unsupported or unavailable, with 1 when one is wrong or broken.

    Args:
        suite: What is measured and how: a name or the path of a manifest.
        model: Only these models, in the suite or not.
        framework: Only these, each FRAMEWORK (its default variants) or FRAMEWORK:VARIANT.
        task: Only these tasks, in the suite or not.
        launches: Processes of each variant; the suite's when absent.
        rounds: At most so many rounds in each launch.
        budget: Seconds of samples for each cell; the suite's when absent.
        threads: CPU threads of each runner; all physical cores when absent.
        weights: `seeded`, the path of a safetensors file, or `hub:OWNER/NAME`; the model's own when absent.
        build: Whether to build what is missing.
        format: How the results are printed.
        output: The folder of the run's files; a new one under artifacts/results when absent.
        python_env: Where Python frameworks run, and the reference: `own`, each in its environment; `current`, what the
            interpreter that runs Arena has.
        in_process: Whether Python frameworks run in Arena's own process, imported by its interpreter.
        timeout: OP=SECONDS for an operation of the contract, over the suite's (`load=30`, `run=600`).
        limit: NAME=NUMBER of what each runner may take, over the suite's: `memory_bytes=8GiB`, `file_bytes=20GiB`,
            `address_space_bytes=64GiB`, `processes=64`, `log_lines=1000`.
        boundary: Where a sample of every variant starts and ends: `host`, from inputs in host memory to outputs there;
            `device`, both on the device, which is synchronised. Each variant's own when absent.
        sweep: SIZE=NUMBER,NUMBER for each size, as in `--sweep batch=1,4,16 seq=128,1024`: every combination in place
            of the models' own shapes, smallest first. A variant that runs out of memory is skipped on larger shapes.
        seed: Of the shuffled rounds and the bootstrap; the suite's when absent.
        save_baseline: Keep the run under this name, for `--baseline` of later ones.
        baseline: Compare the run with this baseline, too; ends with 3 when a cell is slower.
        fail_above: With `--baseline`, end with 3 only for what is slower by more than this, as in `5%`.
    """
    from arena_py.build import using
    from arena_py.cli import diff
    from arena_py.cli.tables import console
    from arena_py.measure import machine
    from arena_py.measure.plan import Selection, make_plan
    from arena_py.measure.roofline import Ceiling
    from arena_py.report import live
    from arena_py.results import baselines
    from arena_py.results.store import RunFolder

    tolerated = diff.share(fail_above)
    if fail_above is not None and baseline is None:
        raise ArenaError("--fail-above needs a baseline", hint="add --baseline NAME")
    known = baselines.load(baseline) if baseline is not None else None
    if save_baseline is not None:
        baselines.checked(save_baseline)
    selection = Selection(
        suite=suite,
        models=model or (),
        frameworks=framework or (),
        tasks=task or (),
        launches=launches,
        rounds=rounds,
        budget_s=budget,
        threads=threads,
        weights=weights,
        seed=seed,
        timeouts=timeout or (),
        limits=limit or (),
        boundary=boundary,
        sweep=sweep or (),
    )
    plan = make_plan(selection)
    meanwhile = console(stderr=True)
    with using(python_env):
        runners = runners_of(plan, meanwhile, build=build, in_process=in_process)
        with live.shown(meanwhile) as progress:
            before_ns = time.perf_counter_ns()
            files = prepared_files(plan, runners, progress)
            ceiling = Ceiling(plan, machine.machine(), progress) if any(files.values()) else None
            preparation_ns = time.perf_counter_ns() - before_ns
            folder = RunFolder.create(suite, output)
            run = measured(plan, runners, files, folder, progress, preparation_ns=preparation_ns, ceiling=ceiling)
    _print(run, format)
    meanwhile.print(f"kept in {folder.path}: run.json, and run.md to read", markup=False, soft_wrap=True)
    meanwhile.print(f"as a page: python -m arena_py report {folder.path} --open", markup=False, soft_wrap=True)
    if save_baseline is not None:
        kept = baselines.save(save_baseline, run)
        meanwhile.print(f"baseline {save_baseline} kept in {kept}", markup=False, soft_wrap=True)
    differs = diff.against(known, run, format, tolerated) if known is not None else 0
    return exit_code(run.cells, sweep=bool(plan.sweep)) or differs


def exit_code(cells: list[Cell], *, sweep: bool = False) -> int:
    """1 when a cell is wrong or broken; a sweep ends where memory does."""
    return int(any(cell.status in BROKEN and not (sweep and cell.status == "out_of_memory") for cell in cells))


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


def prepared_files(plan: Plan, runners: Runners, progress: Progress) -> dict[str, CaseFiles | ArenaError | None]:
    """Weights, inputs and reference of every case, before anything is timed."""
    from arena_py.measure.case import prepare
    from arena_py.verify.canon import Canon

    with Canon(plan.threads) as canon:
        return {case.name: prepare(case, canon, plan, runners, progress) for case in plan.cases}


def measured(
    plan: Plan,
    runners: Runners,
    files: Mapping[str, CaseFiles | ArenaError | None],
    folder: RunFolder,
    progress: Progress,
    *,
    preparation_ns: int = 0,
    ceiling: Ceiling | None = None,
) -> Run:
    """Case by case; whatever ends it early, what was found is kept."""
    from arena_py.measure import machine
    from arena_py.measure.breakdown import breakdown
    from arena_py.measure.case import CaseMeasurement
    from arena_py.measure.sweep import Ended
    from arena_py.measure.warnings import warnings
    from arena_py.report.markdown import markdown
    from arena_py.results import noise
    from arena_py.results.document import SCHEMA, Run, Settings
    from arena_py.results.energy import with_energy
    from arena_py.results.store import now
    from arena_py.results.summary import summarised

    facts, started = machine.machine(), now()
    floor = noise.load(facts, plan.threads)
    floors: dict[str, float] = {
        case.task: noise.floor_of(floor, case.task) for case in plan.cases if floor and case.task in floor.tasks
    }
    measurements = [CaseMeasurement(case, plan, runners, files[case.name]) for case in plan.cases]
    ended = Ended()
    cells: list[Cell] = []
    whole = False
    started_ns = time.perf_counter_ns()
    progress.plan(plan.cells, plan.sampling.launches)
    try:
        for measurement in measurements:
            for label, reason in ended.of(measurement.case) if plan.sweep else ():
                measurement.skip(label, reason)
            try:
                measurement.run(progress)
            finally:
                found = summarised(
                    measurement.cells(), seed=plan.sampling.seed, floor=floors.get(measurement.case.task, 0.0)
                )
                found = ceiling.of(found) if ceiling else found
                found = with_energy(found, measurement.watch.observations, seed=plan.sampling.seed)
                folder.append(found)
                cells += found
            for cell in found:
                progress.done(cell)
                ended.take(measurement.case, cell)
            progress.ended(found)
        whole = True
    finally:
        reached = len(cells) // len(plan.candidates)
        for measurement in measurements[reached:]:
            cells += measurement.cells()
        wall_ns = time.perf_counter_ns() - started_ns
        watches = [measurement.watch for measurement in measurements]
        observations = [observation for watch in watches for observation in watch.observations]
        run = Run(
            schema=SCHEMA,
            arena=__version__,
            id=folder.id,
            started=started,
            finished=now() if whole else None,
            command=["arena", *sys.argv[1:]],
            suite=plan.suite_name,
            seed=plan.sampling.seed,
            threads=plan.threads,
            machine=facts,
            settings=Settings(
                sampling=plan.sampling,
                gate=dict(plan.suite.gate),
                rounds=plan.rounds,
                weights=plan.weights,
                sweep=plan.sweep,
                noise_floor=floors,
            ),
            cases=[measurement.prepared for measurement in measurements if measurement.prepared],
            cells=cells,
            observations=observations,
            breakdown=breakdown(cells, watches, wall_ns=wall_ns, preparation_ns=preparation_ns),
            roofline=ceiling.roofline if ceiling else None,
            warnings=warnings(facts, plan.threads, cells, observations)
            + (ceiling.problems if ceiling else [])
            + ([] if whole else ["the run was interrupted before its end"]),
        )
        folder.finish(run, markdown(run))
    return run


def _print(run: Run, format_: str) -> None:
    """The results on standard output."""
    if format_ == "table":
        from arena_py.cli.tables import console
        from arena_py.report.terminal import show

        show(run, console())
        return
    from arena_py.report.csv import csv
    from arena_py.report.json import json
    from arena_py.report.markdown import markdown

    sys.stdout.write({"md": markdown, "csv": csv, "json": json}[format_](run))
