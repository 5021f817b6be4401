"""From what was asked for to the cells that answer it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import get_args

from msgspec.structs import replace

from arena_py.contract.conditions import DEFAULT_TIMEOUTS_S
from arena_py.contract.limits import Limits
from arena_py.contract.messages import BoundaryName, Precision
from arena_py.errors import ArenaError
from arena_py.manifest import Case, Framework, Sampling, Suite, Variant, framework, frameworks, model, suite
from arena_py.manifest.framework import parse
from arena_py.manifest.model import CaseTask
from arena_py.measure import sweep
from arena_py.measure.machine import physical_cores

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The words of the command line; empty means what the suite says, or everything."""

    suite: str = "default"
    models: Sequence[str] = ()
    frameworks: Sequence[str] = ()
    tasks: Sequence[str] = ()
    launches: int | None = None
    rounds: int | None = None
    budget_s: float | None = None
    threads: int | None = None
    weights: str | None = None
    seed: int | None = None
    timeouts: Sequence[str] = ()
    """Each `OP=SECONDS`."""
    limits: Sequence[str] = ()
    """Each `NAME=NUMBER`, of `[limits]`."""
    boundary: BoundaryName | None = None
    """Of every variant, in place of its own."""
    sweep: Sequence[str] = ()
    """Each `SIZE=NUMBER,NUMBER,…`: every combination, in place of the models' own shapes."""


@dataclass(frozen=True)
class Candidate:
    """A framework in one of its variants."""

    framework: Framework
    variant: Variant

    @property
    def label(self) -> str:
        """`FRAMEWORK:VARIANT`."""
        return f"{self.framework.name}:{self.variant.name}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every cell is one of `candidates` on one of `cases`."""

    suite_name: str
    suite: Suite
    cases: list[Case]
    candidates: list[Candidate]
    sampling: Sampling
    rounds: int | None
    threads: int
    weights: str | None
    sweep: dict[str, list[int]] = field(default_factory=dict)
    """The sizes that were asked for, by name; empty where the cases are the models' own."""

    @property
    def precisions(self) -> set[Precision]:
        """Those of its variants."""
        return {candidate.variant.precision for candidate in self.candidates}

    @property
    def keeps_processes(self) -> bool:
        """Whether a runner's process goes on from case to case; several launches are always several processes."""
        return not self.sampling.fresh_processes and self.sampling.launches == 1

    @property
    def cells(self) -> int:
        """How many there are."""
        return len(self.cases) * len(self.candidates)


def make_plan(selection: Selection) -> Plan:
    """The cells that were asked for.

    Raises:
        ArenaError: an unknown suite, model, task, framework or variant, a number out of range, or no case is left.
    """
    chosen = limited(suite(selection.suite), selection)
    cases = _cases(selection, chosen)
    sizes = sweep.parse(selection.sweep)
    if sizes:
        cases = sweep.swept(cases, sizes)
    if selection.weights not in (None, "seeded") and len({case.model.name for case in cases}) > 1:
        raise ArenaError(
            f"--weights {selection.weights} fits one model, {len({case.model.name for case in cases})} are selected",
            hint="name it with --model",
        )
    return Plan(
        suite_name=selection.suite,
        suite=chosen,
        cases=cases,
        candidates=_candidates(selection.frameworks, selection.boundary),
        sampling=_sampling(selection, chosen.sampling),
        rounds=_at_least_one("--rounds", selection.rounds),
        threads=_at_least_one("--threads", selection.threads) or physical_cores(),
        weights=selection.weights,
        sweep=sizes,
    )


def limited(chosen: Suite, selection: Selection) -> Suite:
    """The suite with the time and the limits of the command line over its own.

    Raises:
        ArenaError: not of the form, an unknown name, or a number out of range.
    """
    timeout_s = dict(chosen.timeout_s)
    for name, value in _settings("--timeout", selection.timeouts, tuple(DEFAULT_TIMEOUTS_S)):
        if not 0 < value < float("inf"):
            raise ArenaError(f"--timeout {name}={value:g} is not a number of seconds above 0")
        timeout_s[name] = value
    limits = {}
    for name, value in _settings("--limit", selection.limits, Limits.__struct_fields__):
        if value < 1 or value != value // 1:
            raise ArenaError(f"--limit {name}={value:g} is not a whole number above 0")
        limits[name] = int(value)
    return replace(chosen, timeout_s=timeout_s, limits=replace(chosen.limits, **limits))


def _settings(option: str, given: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Each `NAME=NUMBER`; a number of bytes may end in KiB, MiB, GiB or TiB."""
    for each in given:
        name, _, text = each.partition("=")
        if name not in known:
            raise ArenaError(f"{option} {each}: unknown: {name}", hint=f"known: {', '.join(known)}")
        number = text.rstrip("KMGTiB")
        unit = UNITS.get(text[len(number) :])
        try:
            value = float(number) * (unit or 1)
        except ValueError:
            value = float("nan")
        if unit is None or math.isnan(value):
            raise ArenaError(f"{option} {each} is not of the form NAME=NUMBER", hint=f"units: {', '.join(UNITS)[2:]}")
        yield name, value


def _cases(selection: Selection, chosen: Suite) -> list[Case]:
    tasks = [_task(name) for name in selection.tasks] or chosen.tasks
    models = [model(name) for name in dict.fromkeys(selection.models or chosen.models)]
    cases = [case for task in tasks for found in models for case in found.cases if case.task == task]
    # Model by model, in the order of the tasks: what a reader compares stands together.
    cases.sort(key=lambda case: [found.name for found in models].index(case.model.name))
    for found in models:
        if selection.models and not any(case.model.name == found.name for case in cases):
            has = ", ".join(dict.fromkeys(case.task for case in found.cases))
            raise ArenaError(f"model {found.name} has no case of {', '.join(tasks)}", hint=f"it has: {has}")
    if not cases:
        raise ArenaError(f"no model of suite {selection.suite} has a case of {', '.join(tasks)}")
    return list({case.name: case for case in cases}.values())


def _task(name: str) -> CaseTask:
    known: tuple[CaseTask, ...] = get_args(CaseTask)
    for task in known:
        if task == name:
            return task
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ArenaError(f"unknown task: {name}", hint=f"{hint}known: {', '.join(known)}")


def _candidates(selectors: Sequence[str], boundary: BoundaryName | None) -> list[Candidate]:
    chosen = [parse(selector) for selector in selectors] or [
        (found, [variant for variant in found.variants if variant.default])
        for found in (framework(name) for name in frameworks())
    ]
    candidates = [
        Candidate(found, replace(variant, boundary=boundary or variant.boundary))
        for found, variants in chosen
        for variant in variants
    ]
    return list({candidate.label: candidate for candidate in candidates}.values())


def _sampling(selection: Selection, planned: Sampling) -> Sampling:
    if selection.budget_s is not None and not 0 < selection.budget_s < float("inf"):
        raise ArenaError(f"--budget {selection.budget_s:g} is not a number of seconds above 0")
    if selection.seed is not None and selection.seed < 0:
        raise ArenaError(f"--seed {selection.seed} is negative")
    return replace(
        planned,
        launches=_at_least_one("--launches", selection.launches) or planned.launches,
        # What was asked for by number is not cut down.
        every_launch=planned.every_launch or selection.launches is not None,
        budget_s=planned.budget_s if selection.budget_s is None else selection.budget_s,
        seed=planned.seed if selection.seed is None else selection.seed,
    )


def _at_least_one(option: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ArenaError(f"{option} {value} is less than 1")
    return value
