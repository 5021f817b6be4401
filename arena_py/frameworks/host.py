"""What a runner says of the machine that it is on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def scratch_folder() -> Path:
    """Where a framework may write: a runner's own working directory, or what the driver names for its own process."""
    return Path(os.environ.get("ARENA_SCRATCH") or Path.cwd())


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
