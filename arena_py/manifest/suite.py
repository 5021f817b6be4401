"""A suite: a named list of cases, a sampling plan and the gate's limits."""

from __future__ import annotations

from functools import cache
from typing import Annotated, TypeAlias

import msgspec

from arena_py.contract.conditions import DEFAULT_TIMEOUTS_S
from arena_py.contract.limits import Limits
from arena_py.contract.messages import Count, Positive, Precision
from arena_py.manifest import toml
from arena_py.manifest.model import CaseTask

Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
"""A number above 0 that is one: neither NaN nor infinite."""
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Operation: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(DEFAULT_TIMEOUTS_S)})$")]
"""Of the contract, as far as it takes time."""


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a case is sampled."""

    launches: Positive = 3
    """Processes of each variant, so that a lucky memory layout is not the result."""
    every_launch: bool = False
    """Whether all of them are made, whatever they cost; otherwise a slow start has fewer."""
    fresh_processes: bool = True
    """Whether a process serves one case alone; otherwise, where there is one launch, it goes on from case to case."""
    min_samples: Positive = 5
    """Steady samples of a cell before precision or budget may stop it."""
    max_samples: Positive = 200
    half_width: Share = 0.015
    """Stop when half the 95 % interval of the median is below this share of it."""
    budget_s: Seconds = 20.0
    """Seconds of steady samples of one cell after which it stops all the same."""
    seed: Count = 0
    """Of the shuffled rounds and the bootstrap."""


class GateLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor passes at `k * noise + floor`; noise is float32 PyTorch's own distance to the reference."""

    k: Share
    floor: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifests/suites/NAME.toml`."""

    title: str
    models: list[str]
    tasks: list[CaseTask]
    gate: dict[Precision, GateLimits]
    sampling: Sampling = Sampling()
    timeout_s: dict[Operation, Seconds] = {}
    """Seconds allowed for each operation of the contract; `conditions.DEFAULT_TIMEOUTS_S` where absent."""
    limits: Limits = Limits()
    """What each runner may take of the machine."""


def suites() -> list[str]:
    """The names of all suites."""
    return toml.names("suites")


@cache
def suite(name: str) -> Suite:
    """The suite called `name`, or of the manifest at that path.

    Raises:
        ArenaError: unknown, or its manifest is wrong.
    """
    return toml.read(toml.find("suites", name), Suite)
