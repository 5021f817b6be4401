"""A short chaos: drivers and runners killed at random, and nothing lost. The long one is `benchmarks/chaos.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import chaos

KILLS = 10


def test_kills_at_random_points_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    toll = chaos.pretended(tmp_path, KILLS, seed=1)
    assert toll.problems == []
    assert (toll.lost, toll.wrong_accepted, toll.orphans, toll.files_left) == (0, 0, 0, 0)
    assert toll.kills == KILLS
    assert toll.runs >= 1
    assert toll.cells == 45 * toll.runs
