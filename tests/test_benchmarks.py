"""The programs under `benchmarks/` are run by hand and seldom: that each still starts, and says how it is used."""

from __future__ import annotations

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
