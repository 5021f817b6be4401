"""Start-up, with something that only pretends to start."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from arena_py.contract.session import RunnerFailed
from arena_py.footprint import progress, startup
from arena_py.footprint.subject import Launch


class Pretender:
    """Takes 100 ns when its files were just taken away, and 10 otherwise."""

    def __init__(self, wrong_at=None):
        self.log = []
        self.wrong_at = wrong_at

    def launch(self):
        cold = bool(self.log) and self.log[-1] == "evict"
        self.log.append("launch")
        took = (100 if cold else 10) + len(self.log) % 3
        wrong = "off by one" if self.log.count("launch") == self.wrong_at else None
        return Launch(ready_ns=took, first_ns=10 * took, cpu_ready_s=0.1, cpu_first_s=0.2, peak_bytes=7, wrong=wrong)

    def evict(self, paths):
        self.log.append("evict")
        return 0.9 if self.log.count("evict") == 2 else 1.0


def test_each_warm_start_follows_a_cold_one():
    subject = Pretender()

    found = startup.measure(subject, "m/latency/s", [], 20, evict=subject.evict)

    assert subject.log == ["evict", "launch", "launch"] * 20
    assert 10 <= found.warm.ready_ns.low <= found.warm.ready_ns.value <= found.warm.ready_ns.high <= 12
    assert 100 <= found.cold.ready_ns.value <= 102
    assert (found.cold.launches, found.cold.evicted, found.warm.evicted) == (20, 0.9, None)
    assert found.warm.first_ns.value == 10 * found.warm.ready_ns.value
    assert len(found.warm.samples) == 20


def test_where_nothing_can_be_evicted_that_is_said():
    found = startup.measure(Pretender(), "case", [], 6, evict=None)

    assert found.cold is None
    assert "not measured" in found.cold_how


def test_a_wrong_output_is_no_start():
    with pytest.raises(RunnerFailed, match="off by one"):
        startup.measure(Pretender(wrong_at=3), "case", [], 6, evict=None)


@pytest.mark.parametrize(("budget_s", "launches"), [(None, 20), (1000.0, 20), (75.0, 8), (1.0, 6)])
def test_what_starts_slowly_is_started_less_often_and_says_so(budget_s, launches):
    subject, said = Pretender(), []
    clock = lambda: 10.0 * subject.log.count("evict")  # noqa: E731 (each turn takes 10 s)

    found = startup.measure(
        subject, "case", [], 20, budget_s=budget_s, evict=subject.evict, step=said.append, clock=clock
    )

    assert (found.warm.launches, found.cold.launches) == (launches, launches)
    assert (found.asked, found.budget_s) == (20, budget_s)
    assert len(said) == launches
    assert said[0] == "started 0 of 20 times, cold and warm"
    assert said[2].startswith("started 2 of 20 times, cold and warm, about 180 s left")


def test_lines_come_every_ten_seconds_and_notes_at_once():
    now, out = [0.0], io.StringIO()
    told = progress.Lines(Console(file=out, width=80), clock=lambda: now[0])

    told.begin("candle:cpu", 2, 9)
    told.note("taking it apart")
    for now[0] in (3.0, 9.0, 12.0, 13.0):
        told.step(f"at {now[0]:g} s")

    assert out.getvalue() == "[2/9] candle:cpu: taking it apart\n[2/9] candle:cpu: at 12 s\n"


def test_on_a_terminal_each_step_replaces_the_one_before():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with progress.shown(console) as told:
        told.begin("candle:cpu", 1, 1)
        told.step("started 1 of 20 times")
        told.note("memory of train")

    assert "candle:cpu: memory of train" in out.getvalue()
