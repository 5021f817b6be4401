"""What a runner says of the machine that it is on, and how it keeps to its share of it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def scratch_folder() -> Path:
    """Where a framework may write: a runner's own working directory, or what the driver names for its own process."""
    return Path(os.environ.get("ARENA_SCRATCH") or Path.cwd())


def confine(threads: int) -> None:
    """Keep this process on so many processors, where the system can, whatever threads a framework has.

    For a framework whose own number of threads cannot be set. Only a runner's process is confined, not the driver's,
    where an in-process framework would take every later runner with it. Threads that are there already stay free.
    """
    if Path(sys.argv[0]).name == "worker.py" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
