"""A variant against itself (A/A): what two measurements of one and the same thing differ by, on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from msgspec.structs import replace

from arena_py.build import Built, NotBuilt
from arena_py.measure.case import Runners
from arena_py.measure.plan import Candidate, Plan
from arena_py.results.document import Cell, Interval, Machine
from arena_py.results.noise import Floor, TaskFloor, fingerprint
from arena_py.results.summary import by_case, ratio

TWINS = ("#1", "#2")
"""What the two entrants of a variant are called, after its name."""


def doubled(plan: Plan, seed: int) -> Plan:
    """The plan with every variant in it twice, and a seed of its own for every order."""
    candidates = [
        Candidate(each.framework, replace(each.variant, name=f"{each.variant.name}{twin}"))
        for each in plan.candidates
        for twin in TWINS
    ]
    return dataclasses.replace(plan, candidates=candidates, sampling=replace(plan.sampling, seed=seed))


def twins(runners: Runners) -> dict[str, Built | NotBuilt]:
    """What both of each variant are started by: the same."""
    return {f"{label}{twin}": built for label, built in runners.items() for twin in TWINS}


class Comparison:
    """One variant against itself on one case.

    Args:
        first: its cell.
        second: the other one of the same run.
        seed: of the resampling.
    """

    def __init__(self, first: Cell, second: Cell, seed: int) -> None:
        self.case = first.case
        self.task = first.task
        self.label = first.label.removesuffix(TWINS[0])
        self.ratio: Interval = ratio(second, first, seed=seed)

    @property
    def excludes_one(self) -> bool:
        """Whether the interval says that the variant is not itself: one in twenty may."""
        return not self.ratio.low <= 1.0 <= self.ratio.high

    @property
    def distance(self) -> float:
        """How far the ratio is from 1."""
        return abs(self.ratio.value - 1.0)


def comparisons(cells: Sequence[Cell], seed: int) -> list[Comparison]:
    """Every pair of a run whose two cells passed."""
    found = []
    for of_case in by_case(cells).values():
        named = {cell.label: cell for cell in of_case if cell.status == "passed" and cell.summary}
        for label, cell in named.items():
            other = named.get(f"{label.removesuffix(TWINS[0])}{TWINS[1]}") if label.endswith(TWINS[0]) else None
            if other is not None:
                found.append(Comparison(cell, other, seed))
    return found


def floors(
    found: Sequence[Comparison], machine: Machine, threads: int, *, measured: str, earlier: Floor | None
) -> Floor:
    """The machine's floor by task: the largest distance from 1 that any of the comparisons showed.

    Args:
        found: of all runs.
        machine: where they were made.
        threads: of each runner.
        measured: when.
        earlier: what was known; tasks that were not measured now are kept.
    """
    tasks = dict(earlier.tasks) if earlier else {}
    for task in dict.fromkeys(each.task for each in found):
        of_task = [each for each in found if each.task == task]
        tasks[task] = TaskFloor(
            floor=max(each.distance for each in of_task),
            comparisons=len(of_task),
            excluded_one=sum(each.excludes_one for each in of_task),
            measured=measured,
            labels=sorted({each.label for each in of_task}),
        )
    return Floor(machine=fingerprint(machine), threads=threads, tasks=tasks)
