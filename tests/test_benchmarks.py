"""The programs under `benchmarks/` are run by hand and seldom: that each still starts, and says how it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
# The direct ones import a framework, and run in its environment.
PROGRAMS = sorted(path.name for path in BENCHMARKS.glob("*.py") if not path.name.startswith("direct"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_says_how_it_is_used(program: str) -> None:
    command = [sys.executable, str(BENCHMARKS / program), "--help"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: {program}")


def may_mount() -> bool:
    """Whether this user makes mounts that nobody else sees."""
    if not shutil.which("unshare"):
        return False
    mounts = "mount -t tmpfs tmpfs /mnt && mount -o remount,ro /mnt && mount --rbind /mnt /dev"
    return subprocess.run(["unshare", "--mount", "sh", "-c", mounts], check=False, capture_output=True).returncode == 0


TWO_GPUS = """
own=$(mktemp -d)
trap 'umount --lazy "$own"; rmdir "$own"' EXIT
mount -t tmpfs tmpfs "$own"
cp -a /dev/null /dev/zero "$own/"
mkdir "$own/pts" "$own/shm"
touch "$own/nvidiactl" "$own/nvidia0" "$own/nvidia1"
mount --rbind "$own" /dev
"$@"
"""
"""A machine with the device files of two GPUs, in a mount namespace."""


def with_one_gpu(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--mount", "bash", "-c", TWO_GPUS, "bash", str(BENCHMARKS / "with_one_gpu.sh"), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.skipif(not may_mount(), reason="only root makes mounts of its own")
def test_a_command_with_one_gpu_sees_no_other() -> None:
    told = with_one_gpu("1", "sh", "-c", "echo /dev/nvidia*; touch /dev/nvidia0; echo x > /dev/null && nproc; exit 7")
    assert told.returncode == 7, told.stderr
    seen, processors = told.stdout.splitlines()
    assert seen == "/dev/nvidia1 /dev/nvidiactl"
    assert int(processors) == max(1, len(os.sched_getaffinity(0)) // 2)
    assert "Read-only file system" in told.stderr
    for words, error in ((["2", "true"], "there is no /dev/nvidia2"), (["1"], "usage: ")):
        refused = with_one_gpu(*words)
        assert refused.returncode == 2
        assert error in refused.stderr
