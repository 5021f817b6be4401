"""Threads of every runner: no more than it was asked to use, and none that burns time while another is measured."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from arena_py.contract.conditions import SETTLED_S, runner_environment
from arena_py.contract.session import Session
from arena_py.verify.conformance import Target
from arena_py.verify.golden import GoldenCase, cases, default_folder

pytestmark = pytest.mark.usefixtures("real_pools")

GOLDEN = cases(default_folder())
IDLE_S = 0.8
TICKS_S = 0.03
"""Three ticks of the kernel's clock: what waking up to notice nothing may cost."""
BUSY_NS = 400_000_000
MOST_ITERATIONS = 2000
BESIDE = 0.15
"""Of a thread: what else a process does while one thread computes, such as handling signals and the pipe."""


def cpu_s(pid: int) -> float:
    """CPU time of a process and all its children until now."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def declared(session: Session) -> list[GoldenCase]:
    return [case for case in GOLDEN if "infer" in session.description.architectures.get(case.model.architecture, [])]


def prepared(session: Session, target: Target, case: GoldenCase) -> None:
    session.load(case.model, case.weights, backend=target.backend)
    session.prepare("infer", case.inputs)


def test_an_idle_runner_burns_no_cpu(target: Target, tmp_path: Path) -> None:
    with target.session(tmp_path) as session:
        assert declared(session)
        for case in declared(session):
            prepared(session, target, case)
            session.run(5, target.boundary)
            time.sleep(SETTLED_S)
            before_s = cpu_s(session.pid)
            time.sleep(IDLE_S)
            assert cpu_s(session.pid) - before_s <= TICKS_S, f"{case.name}: it does not sleep"


def test_a_runner_asked_for_one_thread_keeps_one_busy(target: Target, tmp_path: Path) -> None:
    with replace(target, threads=1).session(tmp_path) as session:
        for case in declared(session):
            prepared(session, target, case)
            (one_ns,) = session.run(1, target.boundary).samples_ns
            iterations = max(1, min(MOST_ITERATIONS, BUSY_NS // one_ns))
            before_s, started_s = cpu_s(session.pid), time.perf_counter()
            session.run(iterations, target.boundary)
            took_s = time.perf_counter() - started_s
            assert cpu_s(session.pid) - before_s <= took_s * (1 + BESIDE) + TICKS_S, f"{case.name}: more than one"


def test_the_number_of_threads_reaches_every_library_and_the_users_spinning_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    told = runner_environment(3, {"LP_NUM_THREADS": "{threads}"})
    assert "OMP_WAIT_POLICY" not in told
    assert told["KMP_BLOCKTIME"] == "5"
    assert runner_environment(3, {"KMP_BLOCKTIME": "1"})["KMP_BLOCKTIME"] == "1"
    assert {told[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}
    assert (told["RAYON_NUM_THREADS"], told["LP_NUM_THREADS"]) == ("3", "3")
