"""Who outlives the driver ends what the driver had started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SLEEP = "import time; time.sleep(600)"
DRIVER = """
import os, subprocess, sys
from pathlib import Path
from arena_py.contract import containment, warden

mark = Path(sys.argv[1])
{setup}
print(*pids, flush=True)
sys.stdin.readline()
{teardown}
"""
SLEEPER = (
    f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True, stdout=subprocess.DEVNULL%s).pid"
)
MARKED = SLEEPER % ", env={**os.environ, containment.MARK: str(mark)}"
PLAIN = SLEEPER % ""


def driven(tmp_path: Path, setup: str, teardown: str = "") -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    code = DRIVER.format(setup=setup, teardown=teardown)
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout
    return driver, [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]


def alive(processes: list[psutil.Process], *, until: bool, timeout_s: float = 20.0) -> bool:
    """Whether any lives, once it is as it is waited for."""
    end = time.monotonic() + timeout_s
    while True:
        living = any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)
        if living == until or time.monotonic() > end:
            return living
        time.sleep(0.02)


WATCHED = f"warden.watch(mark); pids = [{MARKED}]"
OVER = f"pids = [{PLAIN}]; guard = warden.over(pids[0]); guard.__enter__()"


@pytest.mark.parametrize("setup", [WATCHED, OVER])
def test_what_a_killed_driver_had_started_ends(tmp_path: Path, setup: str) -> None:
    driver, started = driven(tmp_path, setup)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not alive(started, until=False)


@pytest.mark.parametrize("forget", ["warden.forget(mark)", "guard.__exit__(None, None, None)"])
def test_what_was_forgotten_is_left_alone(tmp_path: Path, forget: str) -> None:
    driver, started = driven(tmp_path, f"{WATCHED if 'mark' in forget else OVER}; {forget}")
    try:
        (warden,) = [each for each in psutil.Process(driver.pid).children() if "warden" in " ".join(each.cmdline())]
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        assert not alive([warden], until=False)
        assert alive(started, until=True)
    finally:
        for each in started:
            each.kill()


def test_it_goes_with_a_driver_that_ends(tmp_path: Path) -> None:
    driver, started = driven(tmp_path, WATCHED, "warden.forget(mark)")
    (warden,) = [each for each in psutil.Process(driver.pid).children() if "warden" in " ".join(each.cmdline())]
    driver.communicate("\n", timeout=30)
    assert driver.returncode == 0
    assert not warden.is_running()
    for each in started:
        each.kill()


def test_a_warden_that_is_killed_is_replaced_by_one_that_knows_everything(tmp_path: Path) -> None:
    killed = "; killed = warden._warden._process; killed.kill(); killed.wait(); warden.watch(Path('/other'))"
    driver, started = driven(tmp_path, WATCHED + killed)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not alive(started, until=False)


def test_its_own_signals_do_not_end_it(tmp_path: Path) -> None:
    driver, started = driven(tmp_path, WATCHED)
    (warden,) = [each for each in psutil.Process(driver.pid).children() if "warden" in " ".join(each.cmdline())]
    warden.send_signal(signal.SIGINT)
    warden.send_signal(signal.SIGTERM)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not alive(started, until=False)
    assert not alive([warden], until=False)
