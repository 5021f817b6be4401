"""How many examples the fuzzing tests try: a few hundred, or with `ARENA_FUZZ=N` in the environment N times as many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("ARENA_FUZZ", "1"))


def examples(count: int) -> settings:
    """The settings of a test that tries so many, times `ARENA_FUZZ`."""
    return settings(max_examples=count * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
