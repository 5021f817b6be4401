"""`aa`: variants against themselves, for this machine's noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from arena_py.measure.against_itself import Comparison
    from arena_py.results.document import Run
    from arena_py.results.noise import Floor

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]


def aa(
    *variants: str,
    suite: str = "default",
    model: Several = None,
    task: Several = None,
    runs: int = 3,
    launches: int | None = None,
    rounds: int | None = None,
    budget: float | None = None,
    threads: int | None = None,
    seed: int | None = None,
    python_env: Literal["own", "current"] = "own",
    in_process: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure variants against themselves, and keep this machine's noise floor.

    Every variant takes part twice in the same shuffled rounds, as two strangers would. What the two differ by is noise:
    the largest such difference of each task is kept in artifacts/noise.json, and `compare` and `diff` show a difference
    inside it as a tie. Each run is kept in artifacts/results as any other.

    Args:
        variants: FRAMEWORK or FRAMEWORK:VARIANT; pytorch when absent.
        suite: What is measured and how: a name or the path of a manifest.
        model: Only these models, in the suite or not.
        task: Only these tasks, in the suite or not.
        runs: How many times all of it is done.
        launches: Processes of each of the two; the suite's when absent.
        rounds: At most so many rounds in each launch.
        budget: Seconds of samples for each of the two; the suite's when absent.
        threads: CPU threads of each runner; all physical cores when absent.
        python_env: Where Python frameworks run: `own`, each in its environment; `current`, what the interpreter that
            runs Arena has.
        in_process: Whether Python frameworks run in Arena's own process, imported by its interpreter.
        seed: Of the first run's shuffled rounds; the next run has the next one.
    """
    from arena_py.build import using
    from arena_py.cli.compare import exit_code
    from arena_py.cli.measuring import Sitting, begins, prepared_files, runners_of, tidied
    from arena_py.cli.tables import console
    from arena_py.measure.against_itself import comparisons, doubled, floors, twins
    from arena_py.measure.machine import machine as facts
    from arena_py.measure.plan import Selection, make_plan
    from arena_py.measure.roofline import Ceiling
    from arena_py.report import live
    from arena_py.results import noise, store

    if runs < 1:
        raise ArenaError(f"--runs {runs} is less than 1")
    selection = Selection(
        suite=suite,
        models=model or (),
        frameworks=variants or ("pytorch",),
        tasks=task or (),
        launches=launches,
        rounds=rounds,
        budget_s=budget,
        threads=threads,
        seed=seed,
    )
    plan = make_plan(selection)
    meanwhile = console(stderr=True)
    done: list[Run] = []
    found: list[Comparison] = []
    tidied(meanwhile)
    with using(python_env):
        built = runners_of(plan, meanwhile, build=True, in_process=in_process)
        with live.shown(meanwhile) as progress:
            files = prepared_files(plan, built, progress)
            for number in range(runs):
                again = doubled(plan, plan.sampling.seed + number)
                folder = store.RunFolder.create("aa")
                ceiling = Ceiling(again)
                begun = begins(again, twins(built), files, ceiling, facts())
                sitting = Sitting(plan=again, runners=twins(built), files=files, ceiling=ceiling, begun=begun)
                with folder.held():
                    folder.begin(begun)
                    run = sitting.measured(folder, progress)
                done.append(run)
                found += comparisons(run.cells, run.seed)
    if not found:
        _show(found, None, done)
        raise ArenaError("no variant passed, nothing is known about noise", hint="see the runs above", exit_code=1)
    machine = done[-1].machine
    earlier = noise.load(machine, plan.threads)
    floor = floors(found, machine, plan.threads, measured=store.now(), earlier=earlier)
    noise.save(floor)
    _show(found, floor, done)
    meanwhile.print(f"kept in {noise.path()}", markup=False, soft_wrap=True)
    return max(exit_code(run.cells) for run in done)


def _show(found: list[Comparison], floor: Floor | None, runs: list[Run]) -> None:
    from arena_py.cli.tables import console, table
    from arena_py.report import text

    out = console()
    listed = table(out, "A/A", "case", "runner", "ratio", "95 % interval", "holds 1")
    for each in found:
        interval = f"[{each.ratio.low:.3f}, {each.ratio.high:.3f}]"
        sure = "" if each.ratio.confidence >= 0.95 else f" at {each.ratio.confidence:.0%}"
        listed.add_row(
            each.case, each.label, f"{each.ratio.value:.3f}", interval + sure, "no" if each.excludes_one else "yes"
        )
    out.print(listed)
    for run in runs:
        for cell in run.cells:
            if cell.status != "passed":
                told = f"{run.id} {cell.case} {cell.label}: {cell.status}: {cell.reason}"
                out.print(text.plain(told), markup=False, soft_wrap=True)
    for task, of_task in floor.tasks.items() if floor else ():
        told = (
            f"noise floor of {task}: {of_task.floor:.2%}, from {of_task.comparisons} comparisons, of which "
            f"{of_task.excluded_one} exclude 1"
        )
        out.print(told, markup=False, soft_wrap=True)
