"""Facts of the machine that explain a number, and none that name it: no hostname, no user, no path."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from arena_py.measure import gpu
from arena_py.results.document import Machine

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CGROUP = Path("/sys/fs/cgroup")
RESERVE = 0.08
"""Share of the memory that is left to the system and the driver."""


def machine() -> Machine:
    """The facts, read now."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Machine(
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        cpu=_cpu_model(),
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        threads=psutil.cpu_count() or 1,
        usable_threads=usable_threads(),
        memory_bytes=total_bytes(),
        virtual=_virtual(),
        governor=_read(GOVERNOR),
        frequency_mhz=frequency.current if frequency else None,
        load_average=[round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else [],
        python=platform.python_version(),
        gpus=gpu.names(),
    )


def physical_cores() -> int:
    """The cores that a runner may use: physical ones, but not more than the affinity and control group leave."""
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return max(1, min(physical, int(usable_threads())))


def usable_threads() -> float:
    """Logical processors left by the affinity and by the control group's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    quota, _, period = (_read(CGROUP / "cpu.max") or "max").partition(" ")
    return min(float(affinity), int(quota) / int(period)) if quota.isdigit() and period.isdigit() else float(affinity)


def total_bytes() -> int:
    """Memory of the machine, or of the control group when that is less."""
    limit = _read(CGROUP / "memory.max") or "max"
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def available_bytes() -> int:
    """Memory that a new process can take without anything being swapped or killed, less a reserve."""
    available = int(psutil.virtual_memory().available)
    limit, used = _read(CGROUP / "memory.max") or "max", _read(CGROUP / "memory.current") or ""
    if limit.isdigit() and used.isdigit():
        available = min(available, int(limit) - int(used) + _reclaimable())
    return available - int(RESERVE * total_bytes())


def _cpu_model() -> str:
    for line in (_read(CPUINFO) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware"):
            return value.strip()
    if sys.platform == "darwin":
        name = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(name, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def _virtual() -> bool | None:
    for line in (_read(CPUINFO) or "").splitlines():
        if line.startswith("flags"):
            return "hypervisor" in line.split()
    return None


def _reclaimable() -> int:
    for line in (_read(CGROUP / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
