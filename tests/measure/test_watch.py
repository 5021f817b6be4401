"""What is seen before each round, and what the driver itself costs."""

from __future__ import annotations

import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

import numpy as np
from fake_runners import FakeRunner, Recorder
from run_documents import MS, around, cell

from arena_py.manifest import Sampling
from arena_py.measure import watch
from arena_py.measure.breakdown import breakdown
from arena_py.measure.entrant import Entrant
from arena_py.measure.sampling import Schedule, Seat
from arena_py.report import text
from arena_py.results.journal import Spent


def test_every_round_of_every_launch_is_observed():
    plan = Sampling(launches=2, min_samples=6, max_samples=20, half_width=0.01, budget_s=20.0)
    entrant = Entrant("a", plan)
    seen = watch.Watch("tiny/infer/b1")
    Schedule(
        [Seat(FakeRunner("a", []), entrant)],
        weights_bytes=1,
        available_bytes=lambda: 1 << 40,
        shuffler=np.random.default_rng(0),
        progress=Recorder(),
        watch=seen,
    ).run()
    rounds = [(turn.launch, turn.round) for turn in entrant.steady() if turn.round >= 0]
    assert [(each.launch, each.round) for each in seen.observations] == rounds
    assert {each.case for each in seen.observations} == {"tiny/infer/b1"}
    assert seen.run_ns > 0


def test_work_of_others_is_what_is_neither_ours_nor_idle(monkeypatch):
    busy, own, now = iter([10.0, 14.0, 20.0]), iter([1.0, 2.0, 2.0]), iter([0.0, 2.0, 5.0])
    monkeypatch.setattr(watch, "_busy_s", lambda: next(busy))
    monkeypatch.setattr(watch, "_own_s", lambda: next(own))
    monkeypatch.setattr(watch.time, "perf_counter", lambda: next(now))
    seen = watch.Watch("c")
    for number in range(3):
        seen.round(0, number)
    # 4 s busy, 1 of them ours, in 2 s; then 6 s busy and none ours in 3 s.
    assert [each.others_threads for each in seen.observations] == [None, 1.5, 2.0]


@pytest.mark.parametrize(("ours", "expected"), [({1}, 5.0), ({0, 1}, 9.0), ({0, 7}, 9.0)])
def test_only_processors_that_this_process_may_run_on_are_looked_at(monkeypatch, ours, expected):
    times = namedtuple("times", ["user", "system", "idle", "iowait", "guest"])
    processors = [times(3.0, 1.0, 90.0, 6.0, 1.0), times(2.0, 3.0, 80.0, 15.0, 0.0)]
    monkeypatch.setattr(watch.psutil, "cpu_times", lambda percpu: processors if percpu else None)
    monkeypatch.setattr(watch.os, "sched_getaffinity", lambda _: ours, raising=False)
    assert watch._busy_s() == expected


def test_a_new_launch_has_a_new_base():
    seen = watch.Watch("c")
    seen.round(0, 0)
    seen.launch()
    seen.round(1, 0)
    assert [each.others_threads for each in seen.observations] == [None, None]


def test_the_drivers_own_work_is_counted_while_samples_are_taken():
    seen = watch.Watch("c")
    with seen.running():
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
    assert seen.driver_cpu_ns >= 50 * MS
    with seen.running():
        time.sleep(0.05)
    assert seen.driver_cpu_ns < seen.run_ns


def test_throttles_are_summed_where_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "CPUS", tmp_path)
    assert watch._throttles() is None
    for core, count in enumerate((3, 4)):
        folder = tmp_path / f"cpu{core}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    assert watch._throttles() == 7


def test_the_breakdown_adds_up():
    cells = [cell("candle:cpu", around(100))]
    spent = Spent(wall_ns=6000 * MS, verify_ns=500 * MS, run_ns=3000 * MS, driver_cpu_ns=15 * MS)
    found = breakdown(cells, [spent], preparation_ns=0)
    assert found.loads_ns == 3 * 300 * MS
    assert found.prepares_ns == 3 * 251 * MS
    assert found.samples_ns == pytest.approx(3000 * MS, rel=1e-3)
    assert found.inside_share == pytest.approx((900 + 753 + 3000) / 6000, rel=1e-3)
    assert (
        found.startups_ns + found.loads_ns + found.prepares_ns + found.samples_ns + found.verify_ns + found.other_ns
        == (found.wall_ns)
    )
    assert found.driver_cpu_share == 0.005
    assert "78% inside samples, loads and prepares; the driver took 0.5% of a processor" in text.spent(found)
