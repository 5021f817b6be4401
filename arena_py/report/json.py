"""The results as JSON: the run document itself."""

from __future__ import annotations

from arena_py.results.document import Run
from arena_py.results.store import encode


def json(run: Run) -> str:
    """`run.json`, byte for byte."""
    return encode(run).decode()
