"""Processes that go on from case to case: which are kept, which are not, and what a plan says of it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from arena_py import scratch
from arena_py.contract.messages import ModelSpec
from arena_py.contract.session import RunnerFailed, Session
from arena_py.measure import kept
from arena_py.measure.kept import Kept, forget_peak
from arena_py.measure.plan import Selection, make_plan

FAKE = Path(__file__).parents[1] / "contract" / "fake_runner.py"
SPEC = ModelSpec("llama", {})
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="the peak is forgotten through /proc")


def starting(behaviour: str):
    return lambda folder: Session([sys.executable, str(FAKE), behaviour], scratch=folder)


@pytest.fixture(autouse=True)
def own_artifacts(monkeypatch, tmp_path):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))


@needs_proc
def test_a_sound_process_serves_the_next_case_and_ends_with_the_run():
    with Kept() as processes:
        with processes.session("a", starting("good")) as (first, new):
            assert new
            first.load(SPEC, Path("weights"), backend="cpu")
        with processes.session("a", starting("good")) as (second, new):
            assert second is first
            assert not new
            second.load(SPEC, Path("weights"), backend="cpu")
        with processes.session("b", starting("good")) as (other, new):
            assert new
            assert other is not first
        assert first.sound
        pid, folder = first.pid, first.scratch
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


@pytest.mark.parametrize("behaviour", ["crash@load", "garbage@load", "leave@load"])
def test_what_failed_is_not_kept(behaviour):
    with Kept() as processes:
        with processes.session("a", starting(behaviour)) as (first, _), pytest.raises(RunnerFailed):
            first.load(SPEC, Path("weights"), backend="cpu")
        assert not psutil.pid_exists(first.pid)
        with processes.session("a", starting("good")) as (second, new):
            assert new
            assert second is not first


@needs_proc
def test_a_refusal_leaves_a_process_usable():
    with Kept() as processes:
        with processes.session("a", starting("refuse@load")) as (first, _), pytest.raises(RunnerFailed):
            first.load(SPEC, Path("weights"), backend="cpu")
        with processes.session("a", starting("good")) as (second, _):
            assert second is first


@needs_proc
def test_one_that_died_while_it_was_idle_is_replaced():
    with Kept() as processes:
        with processes.session("a", starting("good")) as (first, _):
            pass
        psutil.Process(first.pid).kill()
        first.wait(5.0)
        with processes.session("a", starting("good")) as (second, new):
            assert new
            second.load(SPEC, Path("weights"), backend="cpu")


def test_where_the_peak_cannot_be_forgotten_each_is_new(monkeypatch):
    monkeypatch.setattr(kept, "forget_peak", lambda _: False)
    with Kept() as processes:
        with processes.session("a", starting("good")) as (first, _):
            pass
        with processes.session("a", starting("good")) as (second, new):
            assert new
            assert second is not first
        assert not psutil.pid_exists(first.pid)


def test_an_interruption_keeps_nothing():
    with Kept() as processes:
        with pytest.raises(KeyboardInterrupt), processes.session("a", starting("good")) as (first, _):
            raise KeyboardInterrupt
        assert not psutil.pid_exists(first.pid)
        assert list(Path(os.environ["ARENA_ARTIFACTS"], scratch.FOLDER).iterdir()) == []


@needs_proc
def test_the_peak_begins_anew():
    program = "import sys; x = bytearray(1 << 28); del x; print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        before = peak_kib(process.pid)
        assert forget_peak(process.pid)
        after = peak_kib(process.pid)
        process.stdin.close()
    assert before > 1 << 18 > 2 * after
    assert not forget_peak(process.pid)


def peak_kib(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_only_the_quick_suite_keeps_processes_and_only_with_one_launch():
    assert make_plan(Selection(suite="quick")).keeps_processes
    assert not make_plan(Selection(suite="quick", launches=2)).keeps_processes
    assert not make_plan(Selection(suite="default", launches=1)).keeps_processes
