"""Start-up, with something that only pretends to start."""

from __future__ import annotations

import pytest

from arena_py.contract.session import RunnerFailed
from arena_py.footprint import startup
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
