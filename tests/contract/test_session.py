"""The driver against runners that break every promise: each ends in the right status, with its own words, and whole."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from arena_py.contract import limits
from arena_py.contract.conditions import runner_environment
from arena_py.contract.messages import ModelSpec
from arena_py.contract.session import RunnerFailed, RunnerRefused, Session

T = TypeVar("T")
FAKE = Path(__file__).with_name("fake_runner.py")
HANGS_IN_S = {"silent": {"ready": 1.0}, "hang@run": {"run": 2.0}}
"""How long the driver waits for what a behaviour never answers; all else has the driver's own, generous timeouts."""


def spawn(behaviour: str, scratch: Path, **options: object) -> Session:
    timeouts_s = HANGS_IN_S.get(behaviour)
    return Session([sys.executable, str(FAKE), behaviour], scratch=scratch, timeouts_s=timeouts_s, **options)


def everything(session: Session, scratch: Path) -> None:
    session.load(ModelSpec("llama", {}), scratch / "w.safetensors", backend="cpu")
    session.prepare("infer", scratch / "i.safetensors")
    session.run(3)
    session.bind(scratch / "i.safetensors")
    session.outputs(scratch / "o.safetensors")
    session.usage()
    assert session.shutdown() == 0


def eventually(look: Callable[[], T]) -> T:
    """What is seen as soon as there is anything, or in the end."""
    for _ in range(1000):
        if seen := look():
            break
        time.sleep(0.02)
    return seen


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_good_runner_is_driven_through_every_operation(tmp_path: Path) -> None:
    with spawn("good", tmp_path) as session:
        assert session.startup_ns > 0
        assert session.description.runner == "fake"
        everything(session, tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        ("silent", "timed_out", "ready: no answer within 1 s"),
        ("dies-at-once", "crashed", "no such luck"),
        ("no-ready", "crashed", "first line is not a ready line"),
        ("other-contract", "unsupported", "speaks contract 99"),
        ("crash@load", "crashed", "the roof is on fire"),
        ("crash@run", "crashed", "SIGSEGV"),
        ("leave@prepare", "crashed", "prepare: ended with exit code 0"),
        ("hang@run", "timed_out", "run: no answer within 2 s"),
        ("garbage@load", "crashed", "protocol: load: not an answer"),
        ("half-line@load", "crashed", "load: ended with exit code 0"),
        ("no-newline@load", "crashed", "protocol: a line longer than 1048576 bytes"),
        ("invalid-utf8@load", "crashed", "protocol: load"),
        ("nan@load", "crashed", "protocol: load"),
        ("wrong-id@load", "crashed", "protocol: load: answer with id"),
        ("twice@load", "crashed", "protocol"),
        ("both@load", "crashed", "exactly one of ok and error"),
        ("strange-code@load", "crashed", "protocol: load"),
        ("refuse@load", "unsupported", "load: unsupported: no load today"),
        ("negative", "crashed", "protocol: run"),
        ("zero", "crashed", "protocol: run"),
        ("absurd", "crashed", "protocol: run: samples of"),
        ("few", "crashed", "protocol: run: 1 samples, 3 asked"),
        ("text", "crashed", "protocol: run"),
    ],
)
def test_a_bad_runner_gets_its_status_and_leaves_no_process(
    tmp_path: Path, behaviour: str, status: str, words: str
) -> None:
    pids: list[int] = []
    with (
        pytest.raises(RunnerFailed) as failed,
        spawn(behaviour, tmp_path) as session,
    ):
        pids.append(session.pid)
        everything(session, tmp_path)
    assert failed.value.status == status
    assert words in failed.value.reason
    assert not any(alive(pid) for pid in pids)


def test_a_refusal_leaves_the_session_usable_with_its_code(tmp_path: Path) -> None:
    with spawn("refuse@prepare", tmp_path) as session:
        session.load(ModelSpec("llama", {}), tmp_path / "w.safetensors", backend="cpu")
        with pytest.raises(RunnerRefused) as refused:
            session.prepare("infer", tmp_path / "i.safetensors")
        assert (refused.value.code, refused.value.message) == ("unsupported", "no prepare today")
        assert session.usage().peak_rss_bytes > 0


def test_children_of_a_runner_die_with_it(tmp_path: Path) -> None:
    with spawn("children", tmp_path) as session:
        session.usage()
        # Its log is read beside its answers, and may come a moment later.
        (line,) = eventually(session.log_tail)
    child = int(line.removeprefix("child "))
    assert eventually(lambda: not alive(child))


def test_a_flood_on_standard_error_neither_blocks_nor_is_kept(tmp_path: Path) -> None:
    with spawn("flood@usage", tmp_path) as session:
        session.usage()
        assert len(session.log_tail(10_000)) <= 400


def test_a_broken_session_stays_broken(tmp_path: Path) -> None:
    with spawn("garbage@usage", tmp_path) as session:
        for _ in range(2):
            with pytest.raises(RunnerFailed, match="not an answer"):
                session.usage()


def test_what_is_no_program_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(RunnerFailed, match="cannot be started"):
        Session([str(tmp_path / "absent")], scratch=tmp_path)


def test_runners_see_declared_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    environment = runner_environment(3, {"LP_NUM_THREADS": "{threads}"})
    assert "SECRET_TOKEN" not in environment
    assert environment["OMP_NUM_THREADS"] == environment["LP_NUM_THREADS"] == "3"


def test_many_processes_on_a_machine_do_not_hide_what_a_runner_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks: list[int] = []

    def descendants(pid: int) -> list[psutil.Process]:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        looks.append(pid)
        # Not on the first look.
        return [psutil.Process()] * 5 * (len(looks) - 1)

    monkeypatch.setattr(limits.containment, "descendants", descendants)
    told: list[str] = []
    # A thousand times what a look takes would be over three minutes.
    watch = limits.LimitWatch(limits.Limits(processes=5), os.getpid(), tmp_path, told.append)
    with watch.closely():
        watch.join(60)
    assert told == ["6 processes, the limit is 5"]
