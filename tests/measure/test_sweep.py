"""Sweeps: every combination of sizes, and where memory ends."""

from __future__ import annotations

import pytest

from arena_py.contract.session import RunnerFailed
from arena_py.errors import ArenaError
from arena_py.measure.entrant import Entrant
from arena_py.measure.plan import Selection, make_plan
from arena_py.measure.sweep import Ended, TooLarge, at_least, check_reference, parse


def plan(*sweep: str, **selection: object):
    chosen = {"models": ["smollm2-135m"], "tasks": ["infer"], "frameworks": ["candle", "burn"], **selection}
    return make_plan(Selection(sweep=sweep, **chosen))


def test_every_combination_is_a_case_named_by_its_sizes_the_smallest_first():
    swept = plan("batch=4,1", "seq=128,1024")
    assert [case.name.rpartition("/")[2] for case in swept.cases] == ["b1s128", "b4s128", "b1s1024", "b4s1024"]
    assert swept.sweep == {"batch": [1, 4], "seq": [128, 1024]}
    assert [case.units_per_execution for case in swept.cases] == [128, 512, 1024, 4096]


def test_sizes_that_are_not_named_stay_as_they_are():
    swept = plan("batch=8", models=["resnet-50"])
    assert swept.cases[0].shape.sizes == {"batch": 8, "size": 224}
    assert swept.cases[0].units_per_execution == 8


def test_latency_is_not_swept():
    assert {case.task for case in plan("batch=2", tasks=["infer", "latency"]).cases} == {"infer"}
    with pytest.raises(ArenaError, match="no case to start from"):
        plan("batch=2", tasks=["latency"])


@pytest.mark.parametrize("words", ["batch", "batch=", "=1", "batch=0", "batch=1,x", "batch=-1"])
def test_what_is_no_size_is_refused(words: str):
    with pytest.raises(ArenaError, match="is not of the form"):
        parse([words])


def test_a_size_that_the_model_lacks_is_refused_by_name():
    with pytest.raises(ArenaError, match="smollm2-135m has no size of that name") as error:
        plan("frames=3")
    assert error.value.hint == "it has: batch, seq"
    with pytest.raises(ArenaError, match="names batch twice"):
        parse(["batch=1", "batch=2"])


def test_one_boundary_for_every_variant():
    chosen = plan(boundary="device")
    assert {candidate.variant.boundary for candidate in chosen.candidates} == {"device"}
    assert {candidate.variant.boundary for candidate in plan().candidates} == {"host"}


def test_only_what_needs_no_less_memory_is_skipped():
    small, wide, long, both = plan("batch=1,4", "seq=128,1024").cases

    class Found:
        label, status = "candle:cpu", "out_of_memory"

    ended = Ended()
    ended.take(wide, Found())
    assert ended.of(small) == []
    assert ended.of(long) == []
    assert ended.of(both) == [("candle:cpu", f"already out of memory on {wide.name}")]
    assert at_least(both, long)
    assert not at_least(long, wide)


@pytest.mark.parametrize(
    ("status", "reason", "log", "becomes"),
    [
        ("crashed", "run: exit code 101", ["wgpu: Not enough memory left"], "out_of_memory"),
        ("crashed", "run: exit code 101", ["index out of bounds"], "crashed"),
        ("out_of_memory", "load: out_of_memory: 3 GiB", [], "out_of_memory"),
        ("timed_out", "out of memory, or not", [], "timed_out"),
    ],
)
def test_a_runner_that_dies_of_memory_is_out_of_memory(status: str, reason: str, log: list[str], becomes: str):
    entrant = Entrant("cell", plan().sampling)
    entrant.fail_with(RunnerFailed(status, reason), log)
    assert (entrant.status, entrant.reason) == (becomes, reason)


def test_a_reference_without_room_is_told_before_it_is_computed():
    (case,) = plan("batch=64", "seq=1024").cases
    check_reference(case, 1 << 40)
    with pytest.raises(TooLarge, match="needs about 72 GiB, 8 GiB are available"):
        check_reference(case, 8 << 30)
    (images,) = plan("batch=64", models=["resnet-50"]).cases
    check_reference(images, 1)
