"""What a run has found so far: `journal.jsonl` in its folder, until `run.json` is whole.

The first line says what the run began with; each of the others holds a case that was measured whole, or says that the
run was taken up again. A line is written at once and to the disk. A last one without its end is left out: what it would
have said is done anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from arena_py import scratch
from arena_py.contract.messages import UNREADABLE
from arena_py.errors import ArenaError
from arena_py.results.begun import SCHEMA, Begun
from arena_py.results.document import Cell, Prepared
from arena_py.results.observed import Observation

JOURNAL = "journal.jsonl"


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of a case went (`Breakdown`)."""

    wall_ns: int
    verify_ns: int
    run_ns: int
    driver_cpu_ns: int


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """A case with all of its cells."""

    case: str
    prepared: Prepared | None
    cells: list[Cell]
    observations: list[Observation]
    spent: Spent


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag="resumed"):
    """The run was taken up again."""

    at: str
    """ISO 8601, UTC."""
    preparation_ns: int
    """What that took before the first case."""


Entry: TypeAlias = Begun | Measured | Resumed


@dataclass(frozen=True)
class Journal:
    """All lines of a journal."""

    begun: Begun
    measured: dict[str, Measured] = field(default_factory=dict)
    """By case."""
    resumed: list[Resumed] = field(default_factory=list)


def begin(folder: Path, begun: Begun) -> None:
    """Start the journal of a folder; an earlier one goes.

    Raises:
        OSError: it cannot be written.
    """
    scratch.write(folder / JOURNAL, msgspec.json.encode(begun) + b"\n")


def append(folder: Path, entry: Measured | Resumed) -> None:
    """Add a line, and wait until the disk has it.

    Raises:
        OSError: it cannot be written.
    """
    with (folder / JOURNAL).open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Journal:
    """The journal of a folder.

    Raises:
        OSError: it cannot be read.
        ArenaError: it is not one, or of another version.
    """
    path = folder / JOURNAL
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        version = msgspec.json.decode(lines[0], type=_Version).schema if lines else None
        if version != SCHEMA:
            raise ArenaError(
                f"{path}: schema {version}, this arena reads {SCHEMA}", hint="take it up with the arena that began it"
            )
        entries: list[Entry] = [msgspec.json.decode(line, type=Entry) for line in lines]
    except UNREADABLE as error:
        raise ArenaError(f"{path}: not the journal of a run: {error}", hint="start the run anew") from error
    begun, *rest = entries
    if not isinstance(begun, Begun) or any(isinstance(entry, Begun) for entry in rest):
        raise ArenaError(f"{path}: not the journal of a run: it begins twice, or not at all", hint="start the run anew")
    return Journal(
        begun,
        {entry.case: entry for entry in rest if isinstance(entry, Measured)},
        [entry for entry in rest if isinstance(entry, Resumed)],
    )


def mend(folder: Path) -> None:
    """Cut off a last line that was not finished, so that what is appended stands on lines of its own.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / JOURNAL
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        scratch.write(path, whole)


class _Version(msgspec.Struct):
    schema: int
