"""Somebody else's program may do anything: each gets its verdict, leaves nothing, and harms nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from trial import BEHAVIOURS, PATIENCE_S, Behaviour, attempt

MOST_GROWTH_BYTES = 300 << 20
VERDICT_S = 2 * PATIENCE_S
"""A hang takes one timeout; the rest is for the good runner and a loaded machine."""


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
def test_a_hostile_runner_gets_its_verdict_and_leaves_nothing(tmp_path: Path, behaviour: Behaviour) -> None:
    outcome = attempt(behaviour, tmp_path)
    assert (outcome.status, outcome.good_status) == (behaviour.status, "passed"), outcome
    assert behaviour.words in outcome.reason
    assert (outcome.processes_left, outcome.files_left) == (0, 0)
    assert outcome.growth_bytes < MOST_GROWTH_BYTES
    assert outcome.seconds < VERDICT_S
    assert not any("\x1b" in line for line in [outcome.reason, *outcome.log_tail])
