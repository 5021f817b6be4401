"""What NVIDIA's driver tells, played by a driver made here."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from arena_py.measure import energy, gpu
from arena_py.measure.energy import Meter
from arena_py.measure.watch import Watch

OURS, THEIRS = 10, 20


@pytest.fixture
def driver(monkeypatch):
    """Two devices: processes by device, their use of it in percent, and the joules that each has counted."""
    state = SimpleNamespace(processes=[[OURS], []], busy=[[], []], joules=[0.0, 0.0])

    def process(pid):
        return SimpleNamespace(pid=pid, usedGpuMemory=1 << 20)

    def refused(*_):
        raise pynvml.NVMLError_NotSupported

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda device: f"device {device}",
        "nvmlDeviceGetComputeRunningProcesses": lambda device: [process(pid) for pid in state.processes[device]],
        "nvmlDeviceGetGraphicsRunningProcesses": lambda device: [process(pid) for pid in state.processes[device]],
        "nvmlDeviceGetProcessUtilization": lambda device, since_us: [
            SimpleNamespace(pid=pid, smUtil=share) for pid, share in state.busy[device]
        ],
        "nvmlDeviceGetTotalEnergyConsumption": lambda device: state.joules[device] * 1e3,
    }
    for name in (
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
    ):
        answers[name] = refused
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    gpu._devices.cache_clear()
    yield state
    gpu._devices.cache_clear()


def shares(ours=frozenset({OURS}), since_s=1.0):
    return [state.others_share for state in gpu.states(lambda: ours, since_s)]


def test_what_others_compute_on_a_device_of_ours_is_told(driver):
    driver.busy[0] = [(OURS, 60), (THEIRS, 25), (THEIRS + 1, 5)]
    assert shares() == [0.3, None]
    driver.busy[0] = [(OURS, 60)]
    assert shares() == [0.0, None]
    assert shares(since_s=None) == [None, None]


def test_where_the_driver_does_not_know_our_processes_nobody_is_called_another(driver):
    driver.busy[0] = [(OURS, 60), (THEIRS, 25)]
    assert shares(frozenset({99})) == [None, None]


def test_no_more_than_all_of_the_time_is_others(driver):
    driver.busy[0] = [(THEIRS, 80), (THEIRS + 1, 70)]
    assert shares() == [1.0, None]


def test_of_several_devices_those_in_use_are_metered(driver):
    meter = Meter(energy.nvml())
    before = meter.read()
    driver.joules = [3.0, 100.0]
    assert meter.since(before, lambda: frozenset({OURS})) == {"gpu": 3.0}
    assert meter.since(before, lambda: frozenset({99})) == {"gpu": 103.0}


def test_a_process_is_on_one_device_once(driver):
    assert gpu.device_of(OURS) == "device 0"
    assert gpu.memory_of(OURS) == 1 << 20
    assert gpu.device_of(THEIRS) is None
    driver.processes[1] = [OURS]
    assert gpu.memory_of(OURS) == 2 << 20


def test_a_new_launch_has_no_round_before(driver, monkeypatch):
    asked = []
    monkeypatch.setattr(gpu, "states", lambda ours, since_s: asked.append(since_s) or [])
    seen = Watch("case", Meter([]))
    seen.round(0, 0)
    seen.round(0, 1)
    seen.launch()
    seen.round(1, 0)
    assert [since_s is None for since_s in asked] == [True, False, True]
