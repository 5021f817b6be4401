"""`diff`: two runs, cell by cell, on samples that are known."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from run_documents import WRONG, around, cell, run, turns

from arena_py.errors import ArenaError
from arena_py.results import baselines, noise, store
from arena_py.results.difference import difference
from arena_py.results.noise import Floor, TaskFloor
from arena_py.results.observed import Roofline


def verdicts(found):
    return {cell.label: cell.verdict for cell in found.cells}


@pytest.fixture
def before():
    return run(cell("candle:cpu", around(100)), cell("burn:flex", around(140)), cell("pytorch:eager", around(90)))


def test_a_run_against_itself_is_ties_everywhere(before):
    found = difference(before, before)
    assert set(verdicts(found).values()) == {"tie"}
    assert found.caveats == []
    assert all(cell.ratio.low <= 1 <= cell.ratio.high and cell.ratio.value == 1 for cell in found.cells)


def test_one_runner_slowed_by_five_percent_is_exactly_that_regression(before):
    after = run(cell("candle:cpu", around(105)), cell("burn:flex", around(140)), cell("pytorch:eager", around(90)))
    found = difference(before, after)
    assert verdicts(found) == {"candle:cpu": "regression", "burn:flex": "tie", "pytorch:eager": "tie"}
    (slower,) = found.having("regression")
    assert slower.ratio.value == pytest.approx(1.05, abs=0.002)
    assert 1.03 < slower.ratio.low < 1.05 < slower.ratio.high < 1.07


def test_what_is_faster_is_an_improvement(before):
    found = difference(before, run(cell("candle:cpu", around(80))))
    assert verdicts(found) == {"candle:cpu": "improvement", "burn:flex": "gone", "pytorch:eager": "gone"}


def test_newly_wrong_new_and_gone_are_told_apart(before):
    after = run(
        cell("candle:cpu", around(100), error=WRONG),
        cell("burn:flex", status="crashed", reason="run: died"),
        cell("luminal:cpu", around(50)),
    )
    found = difference(before, after)
    assert verdicts(found) == {
        "candle:cpu": "newly wrong",
        "burn:flex": "newly wrong",
        "pytorch:eager": "gone",
        "luminal:cpu": "new",
    }
    assert "over the limit" in next(cell.detail for cell in found.cells if cell.label == "candle:cpu")
    assert verdicts(difference(after, before))["candle:cpu"] == "newly right"


def test_what_never_passed_is_not_ranked():
    never = run(cell("candle:cpu", status="unsupported", reason="no"))
    assert verdicts(difference(never, never)) == {"candle:cpu": "not ranked"}


def test_a_difference_inside_the_floor_is_a_tie(before):
    after = run(cell("candle:cpu", around(105)))
    task = TaskFloor(floor=0.06, comparisons=10, excluded_one=0, measured="2026-01-01T00:00:00Z", labels=["candle:cpu"])
    floor = Floor(machine="m", threads=2, tasks={"infer": task})
    assert verdicts(difference(before, after, floor))["candle:cpu"] == "tie"
    other = Floor(machine="m", threads=2, tasks={"train": task})
    assert verdicts(difference(before, after, other))["candle:cpu"] == "regression"


def test_a_difference_inside_the_launches_own_spread_is_a_tie():
    launches = [100.0] * 10 + [110.0] * 10 + [120.0] * 10
    found = difference(run(cell("candle:cpu", launches)), run(cell("candle:cpu", [ms * 1.05 for ms in launches])))
    assert verdicts(found) == {"candle:cpu": "tie"}


@pytest.mark.parametrize(("before_ms", "after_ms"), [(100, 130), (130, 100)])
@pytest.mark.parametrize("launches", [(1, 3), (3, 1), (1, 1)])
def test_of_a_single_launch_a_difference_is_unclear_until_the_floor_is_known(before_ms, after_ms, launches):
    old, new = (
        run(cell("candle:cpu", turns=turns(around(ms), each)), cell("burn:flex", turns=turns(around(50), each)))
        for ms, each in zip((before_ms, after_ms), launches, strict=True)
    )
    assert verdicts(difference(old, new)) == {"candle:cpu": "unclear", "burn:flex": "tie"}
    task = TaskFloor(floor=0.06, comparisons=10, excluded_one=0, measured="2026-01-01T00:00:00Z", labels=["candle:cpu"])
    found = difference(old, new, Floor(machine="m", threads=2, tasks={"infer": task}))
    assert verdicts(found)["candle:cpu"] == ("regression" if after_ms > before_ms else "improvement")


def test_too_few_turns_are_compared_with_what_confidence_they_leave():
    found = difference(run(cell("candle:cpu", [100, 101])), run(cell("candle:cpu", [150, 151])))
    (slower,) = found.cells
    assert slower.verdict == "regression"
    assert slower.ratio.confidence < 0.95


def test_everything_that_is_not_the_same_is_said(before):
    machine = replace(before.machine, cpu="Another CPU", cores=8)
    cases = [replace(each, weights_sha256="e" * 64) for each in before.cases]
    cells = [
        replace(each, build=replace(each.build, version="2.0", compiler="rustc 2"), threads=8) for each in before.cells
    ]
    after = replace(before, arena="9.9", threads=8, machine=machine, cases=cases, cells=cells)
    told = "\n".join(difference(before, after).caveats)
    for part in (
        "machine, cpu: A CPU, now Another CPU",
        "machine, cores: 2, now 8",
        "arena: 0.1.0, now 9.9",
        "threads: 2, now 8",
        "tiny/infer/b1, weights: aaaaaaaaaaaa, now eeeeeeeeeeee",
        "candle:cpu, version: 1.0, now 2.0",
        "burn:flex, compiler: rustc 1.95.0, now rustc 2",
        "candle:cpu, threads: 2, now 8",
    ):
        assert part in told


def test_a_machine_of_the_same_name_is_known_by_its_peaks(before):
    slow = replace(before, roofline=Roofline(flops_per_s=1.5e12, bytes_per_s=100e9, threads=16))
    fast = replace(before, roofline=Roofline(flops_per_s=1.74e12, bytes_per_s=105e9, threads=16))
    (caveat,) = difference(slow, fast).caveats
    assert "measured peak of arithmetic: 1,500 GFLOP/s, now 1,740" in caveat
    assert not difference(slow, slow).caveats
    assert not difference(slow, before).caveats
    other = replace(before, machine=replace(before.machine, gpus=["H200, driver 580"]))
    assert "machine, gpus" in difference(before, other).caveats[0]


def test_the_mean_over_cases_is_geometric(before):
    names = ("tiny/infer/b1", "tiny/infer/b2", "tiny/train/b1", "tiny/train/b2")
    old = run(*(cell("candle:cpu", around(100), case=name) for name in names))
    new = run(*(cell("candle:cpu", around(ms), case=name) for name, ms in zip(names, (50, 200, 100, 100), strict=True)))
    (overall,) = difference(old, new).overall
    assert overall.cases == 4
    assert overall.ratio.value == pytest.approx(1.0, abs=1e-3)
    assert overall.ratio.low < 1 < overall.ratio.high
    assert overall.unclear == 0


def test_a_baseline_is_a_copy_with_a_name(before, tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    baselines.save("main", before)
    assert baselines.load("main") == before
    baselines.save("main", replace(before, id="later"))
    assert baselines.load("main").id == "later"
    assert baselines.names() == ["main"]
    with pytest.raises(ArenaError, match="no such baseline: mian") as error:
        baselines.load("mian")
    assert "did you mean main" in error.value.hint
    with pytest.raises(ArenaError, match="only letters"):
        baselines.save("../elsewhere", before)


def test_the_latest_run_is_the_one_written_last(before, tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    with pytest.raises(ArenaError, match="no run is stored"):
        store.latest()
    for name in ("20260102T000000Z-quick", "20260101T000000Z-quick"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        store.write(folder / store.RUN, store.encode(replace(before, id=name)))
    assert store.latest().id == "20260101T000000Z-quick"


def test_a_floor_is_this_machines(before, tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    assert noise.load(before.machine, 2) is None
    task = TaskFloor(floor=0.02, comparisons=1, excluded_one=0, measured="now", labels=[])
    noise.save(Floor(machine=noise.fingerprint(before.machine), threads=2, tasks={"infer": task}))
    found = noise.load(before.machine, 2)
    assert (noise.floor_of(found, "infer"), noise.floor_of(found, "train")) == (0.02, 0.0)
    assert noise.load(before.machine, 1) is None
    assert noise.load(replace(before.machine, cpu="Another"), 2) is None
    noise.path().write_text("{")
    with pytest.raises(ArenaError, match="not a noise floor"):
        noise.load(before.machine, 2)
