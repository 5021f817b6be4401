"""A/A: pairs of one variant, and the floor that they show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

from run_documents import around, cell, run

from arena_py.build import NotBuilt
from arena_py.measure.against_itself import comparisons, doubled, floors, twins
from arena_py.measure.plan import Selection, make_plan
from arena_py.results.document import Status
from arena_py.results.noise import Floor, TaskFloor, fingerprint, floor_of


def pair(ratio: float, case: str = "tiny/infer/b1", status: Status | None = None):
    first = cell("candle:cpu#1", around(100), case=case)
    return run(first, cell("candle:cpu#2", around(100 * ratio), case=case, status=status))


def test_every_variant_takes_part_twice_with_what_it_is_built_from():
    plan = make_plan(Selection(models=["llama-tiny"], tasks=["infer"], frameworks=["candle", "pytorch"]))
    again = doubled(plan, 7)
    assert [each.label for each in again.candidates] == [
        "candle:cpu#1",
        "candle:cpu#2",
        "pytorch:eager#1",
        "pytorch:eager#2",
    ]
    assert (again.sampling.seed, again.cases) == (7, plan.cases)
    missing = NotBuilt("never")
    assert twins({"candle:cpu": missing}) == {"candle:cpu#1": missing, "candle:cpu#2": missing}


def test_the_ratio_is_of_the_second_to_the_first():
    (found,) = comparisons(pair(1.03).cells, 0)
    assert (found.label, found.task) == ("candle:cpu", "infer")
    assert found.ratio.value == pytest.approx(1.03, abs=1e-3)
    assert found.distance == pytest.approx(0.03, abs=1e-3)
    assert found.excludes_one
    (same,) = comparisons(pair(1.0).cells, 0)
    assert not same.excludes_one


def test_what_did_not_pass_says_nothing():
    assert comparisons(pair(1.03, status="wrong").cells, 0) == []


def test_the_floor_of_a_task_is_the_largest_distance_and_other_tasks_stay():
    machine = run().machine
    found = [each for ratio in (1.01, 0.96, 1.02) for each in comparisons(pair(ratio).cells, 0)]
    kept = TaskFloor(floor=0.5, comparisons=1, excluded_one=0, measured="before", labels=[])
    earlier = Floor(machine=fingerprint(machine), threads=2, tasks={"train": kept})
    floor = floors(found, machine, 2, measured="now", earlier=earlier)
    assert floor_of(floor, "infer") == pytest.approx(0.04, abs=1e-3)
    assert (floor.tasks["infer"].comparisons, floor.tasks["infer"].excluded_one) == (3, 3)
    assert floor.tasks["infer"].labels == ["candle:cpu"]
    assert floor.tasks["train"] == kept
