"""What NVIDIA's driver tells of its devices: how they run, and which process has memory on them (NVML).

Everywhere without such a driver there are no devices, and nothing is known of any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, TypeVar

from arena_py.results.observed import Gpu

MW_PER_W = 1e3
US_PER_S = 1e6
REASONS = {
    0x2: "applications clocks setting",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Of `nvmlClocksEventReasons`, those that slow a device down; an idle one is none."""

T = TypeVar("T")


def states(ours: Callable[[], frozenset[int]] = frozenset, since_s: float | None = None) -> list[Gpu]:
    """Every device as it is now.

    Args:
        ours: asks for the processes that are no others, where there are devices.
        since_s: of the system's clock, since when others are looked at; they are not when absent.
    """
    if since_s is None or not _devices():
        return [_state(device, None) for device in _devices()]
    known = ours()
    return [_state(device, _others(device, known, since_s)) for device in _devices()]


def of(processes: frozenset[int]) -> set[int]:
    """The devices, by number, on which any of these processes has something."""
    return {number for number, device in enumerate(_devices()) if processes & {pid for pid, _ in _processes(device)}}


def names() -> list[str]:
    """Every device, with the version of its driver."""
    import pynvml  # noqa: PLC0415 (`--help` has no use for it)

    found = [_name(device) for device in _devices()]
    version = _or_none(pynvml.nvmlSystemGetDriverVersion) if found else None
    told = version.decode() if isinstance(version, bytes) else version
    return [f"{name}, driver {told}" for name in found]


def device_of(pid: int) -> str | None:
    """The name of the device on which a process has something; none when it is on none."""
    return next((_name(device) for device, _ in _of(pid)), None)


def memory_of(pid: int) -> int | None:
    """Bytes that a process has on all devices now, its driver's context included; none when it is on none."""
    found = [memory for _, memory in _of(pid) if memory is not None]
    return sum(found) if found else None


def _of(pid: int) -> Iterator[tuple[Any, int | None]]:
    for device in _devices():
        # One that computes by Vulkan may be in both lists, with the same memory.
        memory = dict(reversed(list(_processes(device))))
        if pid in memory:
            yield device, memory[pid]


def _processes(device: Any) -> Iterator[tuple[int, int | None]]:
    """Each process that has something on a device, and the bytes of it."""
    import pynvml  # noqa: PLC0415 (`--help` has no use for it)

    for list_ in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
        for each in _or_none(partial(list_, device)) or []:
            yield each.pid, each.usedGpuMemory


def _others(device: Any, ours: frozenset[int], since_s: float) -> float | None:
    """The share of the time that others computed on a device; none where the driver does not tell our own from them."""
    import pynvml  # noqa: PLC0415 (as above)

    # In a container the driver may count processes otherwise than the system: all would be others.
    if not ours & {pid for pid, _ in _processes(device)}:
        return None
    samples = _or_none(lambda: pynvml.nvmlDeviceGetProcessUtilization(device, int(since_s * US_PER_S))) or []
    return min(1.0, float(sum(each.smUtil for each in samples if each.pid not in ours)) / 100)


@cache
def _devices() -> tuple[Any, ...]:
    import pynvml  # noqa: PLC0415 (as above)

    def ask() -> tuple[Any, ...]:
        pynvml.nvmlInit()
        return tuple(pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))

    return _or_none(ask) or ()


def _name(device: Any) -> str:
    import pynvml  # noqa: PLC0415 (as above)

    name = pynvml.nvmlDeviceGetName(device)
    return name.decode() if isinstance(name, bytes) else str(name)


def _state(device: Any, others_share: float | None) -> Gpu:
    import pynvml  # noqa: PLC0415 (as above)

    reasons = _or_none(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(device)) or 0
    milliwatts = _or_none(lambda: pynvml.nvmlDeviceGetPowerUsage(device))
    memory = _or_none(lambda: pynvml.nvmlDeviceGetMemoryInfo(device))
    return Gpu(
        name=_name(device),
        sm_mhz=_or_none(lambda: pynvml.nvmlDeviceGetClockInfo(device, pynvml.NVML_CLOCK_SM)),
        memory_mhz=_or_none(lambda: pynvml.nvmlDeviceGetClockInfo(device, pynvml.NVML_CLOCK_MEM)),
        watts=None if milliwatts is None else milliwatts / MW_PER_W,
        celsius=_or_none(lambda: pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)),
        used_bytes=None if memory is None else int(memory.used),
        others_share=others_share,
        slowed_by=[words for bit, words in REASONS.items() if reasons & bit],
    )


def _or_none(ask: Callable[[], T]) -> T | None:
    import pynvml  # noqa: PLC0415 (as above)

    try:
        return ask()
    except pynvml.NVMLError:
        return None
