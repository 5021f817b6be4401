"""`compare --resume RUN`: a run that was cut off, from its first missing case on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from arena_py.cli.measuring import Files
    from arena_py.manifest import Case
    from arena_py.measure.case import Runners
    from arena_py.results.begun import Begun, Request
    from arena_py.results.document import Run
    from arena_py.results.journal import Journal
    from arena_py.results.store import RunFolder

ANEW = "make it as it was, or start the run anew"
OPTIONS = {
    "suite": "--suite",
    "models": "--model",
    "frameworks": "--framework",
    "tasks": "--task",
    "launches": "--launches",
    "rounds": "--rounds",
    "budget_s": "--budget",
    "threads": "--threads",
    "weights": "--weights",
    "seed": "--seed",
    "timeouts": "--timeout",
    "limits": "--limit",
}
"""What says what is measured: the names of `Selection`, and the options."""


def refuse_more(request: Request, output: Path | None, *, build: bool) -> None:
    """A run is taken up as it was asked for.

    Raises:
        ArenaError: the command line has an option that says what is measured, besides `--resume`.
    """
    from arena_py.measure.plan import Selection

    selection, untouched = request.selection, Selection()
    given = [option for name, option in OPTIONS.items() if getattr(selection, name) != getattr(untouched, name)]
    given += ["--python-env"] * (request.python_env != "own") + ["--in-process"] * request.in_process
    given += ["--output"] * (output is not None) + ["--no-build"] * (not build)
    if given:
        raise ArenaError(
            f"--resume takes a run up as it was asked for, and does not go with {', '.join(given)}",
            hint="leave them out, or start a run anew",
        )


def whole(name: str, meanwhile: Console) -> tuple[Path, Run]:
    """The run of that name with nothing missing, and where it is kept.

    Args:
        name: of its folder under `artifacts/results`, a path, or `latest` for the latest that is unfinished.
        meanwhile: told what is done.

    Raises:
        ArenaError: no such run, another process measures it, or it is none that can be taken up, because something that
            it depends on is no longer as it was; named.
    """
    from arena_py import locking
    from arena_py.cli.measuring import tidied
    from arena_py.results.store import LOCK, RunFolder

    if found := _finished(name):
        # Its driver may have been killed between the document and the lock.
        locking.abandoned(found[0] / LOCK)
        meanwhile.print(f"{name} is whole, nothing is missing", markup=False, soft_wrap=True)
        return found
    folder = RunFolder.unfinished(name)
    tidied(meanwhile)
    with folder.held():
        return folder.path, _taken_up(folder, meanwhile)


def _finished(name: str) -> tuple[Path, Run] | None:
    """The run of that name, if it is whole."""
    from arena_py.results import store
    from arena_py.results.journal import JOURNAL

    for place in (Path(name), store.results() / name) if name != "latest" else ():
        if (place / store.RUN).is_file() and not (place / JOURNAL).is_file():
            run = store.load(place)
            return (place.absolute(), run) if run.finished is not None else None
    return None


def _taken_up(folder: RunFolder, meanwhile: Console) -> Run:
    """Measure what is missing."""
    from arena_py.build import using
    from arena_py.cli.measuring import Sitting, prepared_files, runners_of, sits
    from arena_py.measure import machine
    from arena_py.measure.plan import make_plan
    from arena_py.measure.roofline import Ceiling
    from arena_py.report import live
    from arena_py.results import begun
    from arena_py.results.journal import Resumed
    from arena_py.results.store import now

    journal = folder.journal()
    request = _request(folder, journal)
    plan = make_plan(request.selection)
    with using(request.python_env):
        runners = runners_of(plan, meanwhile, build=False, in_process=request.in_process)
        _refuse(folder, begun.differences(journal.begun.facts, begun.facts(plan, runners, machine.machine())))
        runners = _as_they_were(runners, journal.begun)
        missing = [case for case in plan.cases if case.name not in journal.measured]
        meanwhile.print(
            f"{folder.id}: {len(journal.measured)} of {len(plan.cases)} cases are there, {len(missing)} are missing",
            markup=False,
            soft_wrap=True,
        )
        with live.shown(meanwhile) as progress:
            before_ns = time.perf_counter_ns()
            files = prepared_files(plan, runners, progress, missing) if missing else {}
            _refuse(folder, _differences(journal.begun, missing, files))
            resumed = Resumed(at=now(), preparation_ns=time.perf_counter_ns() - before_ns)
            folder.append(resumed)
            sitting = Sitting(
                plan=plan,
                runners=runners,
                files=files,
                ceiling=Ceiling(
                    plan,
                    journal.begun.roofline,
                    journal.begun.flops,
                    journal.begun.problems,
                    journal.begun.device_rooflines,
                ),
                begun=journal.begun,
                kept=journal.measured,
                resumed=[*journal.resumed, resumed],
            )
            with sits(folder, meanwhile):
                return sitting.measured(folder, progress)


def _request(folder: RunFolder, journal: Journal) -> Request:
    """What the run was asked for, where it means the same here."""
    request = journal.begun.request
    if request is None:
        raise ArenaError(f"{folder.id} is no run of `compare`, and cannot be taken up", hint="start it anew")
    if request.relative and Path.cwd() != Path(request.folder):
        raise ArenaError(
            f"{folder.id} names files by where it was started: {', '.join(request.relative)}",
            hint=f"cd {request.folder}",
        )
    return request


def _differences(then: Begun, missing: Sequence[Case], files: Files) -> list[str]:
    """What of the files of missing cases is not as it was."""
    from arena_py.measure.case import record_of
    from arena_py.results import begun

    prepared = [record for each in files.values() if (record := record_of(each))]
    found = begun.differences(then.facts, begun.facts_of_files(prepared))
    for case in missing:
        error = files[case.name]
        if isinstance(error, ArenaError) and f"the weights of {case.name}" in then.facts:
            found.append(f"{case.name} can no longer be prepared: {error.message}")
    return found


def _refuse(folder: RunFolder, differences: list[str]) -> None:
    from arena_py.results import begun

    if differences:
        raise ArenaError(f"{folder.id} cannot be taken up: {begun.told(differences)}", hint=ANEW)


def _as_they_were(runners: Runners, then: Begun) -> Runners:
    """What was not built then has the reason that it had."""
    from arena_py.build import NotBuilt

    absent = {
        label: NotBuilt(each.reason, hint=each.hint, declared=each.declared, log_tail=tuple(each.log_tail))
        for label, each in then.absent.items()
    }
    return {**runners, **absent}
