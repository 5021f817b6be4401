"""Runs with a name, kept beside the results: `compare --save-baseline NAME`, `diff --baseline NAME`.

As in Criterion: a baseline is a copy, so that whatever becomes of the results it stays; saving it again replaces it.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from arena_py import places
from arena_py.errors import ArenaError
from arena_py.results import store
from arena_py.results.document import Run

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def folder() -> Path:
    """Where they are."""
    return places.artifacts() / "baselines"


def names() -> list[str]:
    """Every baseline."""
    return sorted(path.parent.name for path in folder().glob(f"*/{store.RUN}"))


def checked(name: str) -> str:
    """A name that can be a folder's.

    Raises:
        ArenaError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ArenaError(f"baseline name {name!r}: only letters, digits, dots, dashes and underscores")
    return name


def save(name: str, run: Run) -> Path:
    """Keep a run under a name.

    Raises:
        ArenaError: the name cannot be one, or it cannot be written.
    """
    place = folder() / checked(name)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArenaError(f"{place}: cannot be made: {error.strerror}", exit_code=1) from error
    store.write(place / store.RUN, store.encode(run))
    return place


def load(name: str) -> Run:
    """The run that is kept under a name.

    Raises:
        ArenaError: there is none, or it cannot be read.
    """
    place = folder() / checked(name) / store.RUN
    if not place.is_file():
        known = names()
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        listed = f"known: {', '.join(known)}" if known else "none is saved: compare --save-baseline NAME"
        raise ArenaError(f"no such baseline: {name}", hint=hint + listed)
    return store.load(place)
