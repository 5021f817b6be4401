"""Runners whose samples end before their results are there, on a clock that only they move."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_py.measure import unfinished
from arena_py.measure.unfinished import FEWEST, TIMES, unfinished_ns

MS = 1_000_000


@dataclass
class Clock:
    now_ns: int = 0

    def perf_counter_ns(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += int(seconds * 1e9)


@dataclass
class FakeSession:
    """An execution takes `work_ms`; `run` waits for it or not, and what is lazy begins when it is asked for."""

    clock: Clock
    work_ms: float = 30.0
    asking_ms: float = 9.0
    write_ms: float = 1.0
    waits: bool = True
    lazy: bool = False
    hiccups: list = field(default_factory=list)
    """Milliseconds that one `outputs` after the other takes longer for no reason of its own."""
    ready_ns: int = 0
    pending: bool = False
    ran: int = 0

    def run(self, iterations, boundary):
        self.ran += iterations
        if self.lazy:
            self.pending = True
            self.clock.now_ns += int(self.asking_ms * MS)
            return
        self.ready_ns = self.clock.now_ns + int(self.work_ms * MS)
        self.clock.now_ns = self.ready_ns if self.waits else self.clock.now_ns + int(self.asking_ms * MS)

    def outputs(self, path):
        path.write_bytes(b"")
        if self.pending:
            self.pending = False
            self.clock.now_ns += int(self.work_ms * MS)
        self.clock.now_ns = max(self.clock.now_ns, self.ready_ns) + int(self.write_ms * MS)
        self.clock.now_ns += int((self.hiccups.pop(0) if self.hiccups else 0) * MS)


@pytest.fixture
def found(monkeypatch, tmp_path):
    def look(boundary="host", execution_ms=None, **behaviour):
        clock = Clock()
        monkeypatch.setattr(unfinished, "time", clock)
        session = FakeSession(clock, **behaviour)
        honest = session.waits and not session.lazy
        execution_ms = execution_ms or (session.work_ms if honest else session.asking_ms)
        more_ns = unfinished_ns(session, boundary, execution_ms * MS, tmp_path / "outputs")
        assert not (tmp_path / "outputs").exists()
        return more_ns, session

    return look


@pytest.mark.parametrize("boundary", ["host", "device"])
def test_one_that_waits_for_its_results_is_finished_and_looked_at_once(found, boundary):
    more_ns, session = found(boundary)
    assert more_ns == 0
    assert session.ran == (1 if boundary == "host" else 2)


@pytest.mark.parametrize("boundary", ["host", "device"])
def test_one_that_does_not_wait_has_the_rest_of_its_work_left(found, boundary):
    more_ns, _ = found(boundary, waits=False)
    assert more_ns == 21 * MS


def test_one_that_computes_when_it_is_asked_has_all_of_its_work_left(found):
    more_ns, _ = found(lazy=True, asking_ms=2.0)
    assert more_ns == 30 * MS


def test_a_single_long_request_is_not_believed(found):
    more_ns, session = found(hiccups=[50.0])
    assert more_ns == 0
    assert session.ran == 2


def test_bad_luck_that_lasts_is_not_believed(found):
    """On a busy machine the first request was the longer one by 2 ms three times in a row."""
    more_ns, session = found(work_ms=1.0, hiccups=[3.0, 0.0] * (TIMES - 1))
    assert more_ns == 0
    assert session.ran == TIMES


def test_one_that_is_slow_is_not_looked_at_for_ever(found):
    more_ns, session = found(waits=False, work_ms=9000.0, asking_ms=1000.0)
    assert more_ns == 8000 * MS
    assert session.ran == FEWEST


def test_what_is_small_beside_the_writing_is_not_told_from_its_scatter(found):
    assert found(waits=False, write_ms=200.0)[0] == 0
    assert found(waits=False, write_ms=20.0)[0] == 21 * MS


def test_a_device_has_time_to_finish_however_long_it_takes(found):
    more_ns, _ = found("device", waits=False, work_ms=900.0, asking_ms=500.0)
    assert more_ns == 400 * MS


@given(st.lists(st.floats(0.0, 40.0), max_size=2 * TIMES - 1))
def test_scatter_that_is_not_in_every_first_request_accuses_nobody(hiccups):
    """A first request that is no longer than the second, even once, is enough."""
    clock = Clock()
    patch = pytest.MonkeyPatch()
    patch.setattr(unfinished, "time", clock)
    try:
        session = FakeSession(clock, hiccups=[*hiccups, *[0.0] * (2 * TIMES - len(hiccups))])
        firsts = session.hiccups[::2]
        seconds = session.hiccups[1::2]
        more_ns = unfinished_ns(session, "host", 30 * MS, _Nowhere())
    finally:
        patch.undo()
    if any(first <= second for first, second in zip(firsts, seconds, strict=True)):
        assert more_ns == 0


class _Nowhere:
    def write_bytes(self, _):
        pass

    def unlink(self, missing_ok):
        assert missing_ok


def test_the_reason_has_both_times():
    reason = unfinished.told(34 * MS, 9.1 * MS)
    assert "9.1 ms" in reason
    assert "34 ms more" in reason
