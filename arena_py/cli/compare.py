"""`compare`: build what is missing, measure, verify, rank."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

    from arena_py.results.begun import Request
    from arena_py.results.document import Cell, Run

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
    resume: str | None = None,
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
        launches: Processes of each variant, all of them; the suite's when absent, and fewer where a start takes long.
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
        resume: Take up a run that was interrupted or killed: its name, its folder, or `latest`. Only what is missing is
            measured, and only where nothing that it depends on has changed.
    """
    from arena_py.cli import diff, resuming
    from arena_py.cli.tables import console
    from arena_py.measure.plan import Selection
    from arena_py.results import baselines
    from arena_py.results.begun import Request

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
    meanwhile = console(stderr=True)
    request = Request(selection=selection, python_env=python_env, in_process=in_process, folder=str(Path.cwd()))
    if resume is None:
        place, run = _anew(request, output, meanwhile, build=build)
    else:
        resuming.refuse_more(request, output, build=build)
        place, run = resuming.whole(resume, meanwhile)
    _print(run, format)
    meanwhile.print(f"kept in {place}: run.json, and run.md to read", markup=False, soft_wrap=True)
    meanwhile.print(f"as a page: python -m arena_py report {place} --open", markup=False, soft_wrap=True)
    if save_baseline is not None:
        kept = baselines.save(save_baseline, run)
        meanwhile.print(f"baseline {save_baseline} kept in {kept}", markup=False, soft_wrap=True)
    differs = diff.against(known, run, format, tolerated) if known is not None else 0
    return exit_code(run.cells, sweep=bool(run.settings.sweep)) or differs


def _anew(request: Request, output: Path | None, meanwhile: Console, *, build: bool) -> tuple[Path, Run]:
    """A run from its start, and where it is kept."""
    from arena_py.build import using
    from arena_py.cli.measuring import Sitting, begins, prepared_files, runners_of, sits, tidied
    from arena_py.measure import machine
    from arena_py.measure.plan import make_plan
    from arena_py.measure.roofline import Ceiling
    from arena_py.report import live
    from arena_py.results.store import RunFolder

    plan = make_plan(request.selection)
    tidied(meanwhile)
    with using(request.python_env):
        runners = runners_of(plan, meanwhile, build=build, in_process=request.in_process)
        with live.shown(meanwhile) as progress:
            before_ns = time.perf_counter_ns()
            files = prepared_files(plan, runners, progress)
            facts = machine.machine()
            ceiling = Ceiling.found(plan, facts, progress) if any(files.values()) else Ceiling(plan)
            preparation_ns = time.perf_counter_ns() - before_ns
            folder = RunFolder.create(plan.suite_name, output)
            begun = begins(plan, runners, files, ceiling, facts, request=request, preparation_ns=preparation_ns)
            sitting = Sitting(plan=plan, runners=runners, files=files, ceiling=ceiling, begun=begun)
            with folder.held():
                folder.begin(begun)
                with sits(folder, meanwhile):
                    return folder.path, sitting.measured(folder, progress)


def exit_code(cells: list[Cell], *, sweep: bool = False) -> int:
    """1 when a cell is wrong or broken; a sweep ends where memory does."""
    return int(any(cell.status in BROKEN and not (sweep and cell.status == "out_of_memory") for cell in cells))


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
