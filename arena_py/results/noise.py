"""This machine's noise floor: how far apart one and the same variant looks from itself (`aa`).

Kept in `artifacts/noise.json`, for the machine that it was found on; a difference inside it is a tie.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from arena_py import places
from arena_py.contract.messages import UNREADABLE
from arena_py.errors import ArenaError
from arena_py.results import store
from arena_py.results.document import Machine

FILE = "noise.json"


class TaskFloor(msgspec.Struct, frozen=True, kw_only=True):
    """Of one task."""

    floor: float
    """The largest distance of an A/A ratio from 1, as a share."""
    comparisons: int
    """How many it was found in."""
    excluded_one: int
    """In how many of them the 95 % interval of the ratio did not hold 1."""
    measured: str
    """When, ISO 8601, UTC."""
    labels: list[str]
    """Of which variants."""


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """`noise.json`."""

    machine: str
    """`fingerprint` of the machine."""
    threads: int
    tasks: dict[str, TaskFloor]


def fingerprint(machine: Machine) -> str:
    """What must be equal for a floor to hold on a machine: processor, cores, memory and kernel, hashed."""
    facts = (
        machine.cpu,
        machine.cores,
        machine.usable_threads,
        machine.memory_bytes,
        machine.kernel,
        machine.governor,
    )
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def path() -> Path:
    """Where it is kept."""
    return places.artifacts() / FILE


def load(machine: Machine, threads: int) -> Floor | None:
    """The floor of this machine with so many threads; `None` where it was never found or the machine was another.

    Raises:
        ArenaError: the file is not one of these.
    """
    try:
        content = path().read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArenaError(f"{path()}: {error.strerror or error}", exit_code=1) from error
    try:
        found = msgspec.json.decode(content, type=Floor)
    except UNREADABLE as error:
        raise ArenaError(f"{path()}: not a noise floor: {error}", hint="python -m arena_py aa makes it anew") from error
    return found if found.machine == fingerprint(machine) and found.threads == threads else None


def floor_of(floor: Floor | None, task: str) -> float:
    """The floor of a task, 0 where none is known."""
    found = floor.tasks.get(task) if floor else None
    return found.floor if found else 0.0


def save(floor: Floor) -> None:
    """Keep the floor of this machine; what was there goes.

    Raises:
        ArenaError: it cannot be written.
    """
    path().parent.mkdir(parents=True, exist_ok=True)
    store.write(path(), msgspec.json.format(msgspec.json.encode(floor), indent=1) + b"\n")
