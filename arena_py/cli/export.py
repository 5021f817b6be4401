"""`export`: all stored cells for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from arena_py.errors import ArenaError


def export(*, to: Literal["parquet", "csv", "sqlite"], output: Path | None = None) -> int:
    """Write the cells of all stored runs into one file for other programs.

    A row a cell: run, machine, case, variant, version, status, median with its interval, phases, memory, error. Raw
    samples stay in each run's run.json.

    Args:
        to: The format of the file.
        output: The file; cells.parquet, cells.csv or cells.sqlite here when absent.
    """
    from arena_py.cli.tables import console
    from arena_py.results import export as exported
    from arena_py.results import history

    path = output or Path(f"cells{exported.SUFFIXES[to]}")
    if path.is_dir():
        raise ArenaError(f"{path} is a folder", hint="name a file with --output")
    meanwhile = console(stderr=True)
    with history.opened() as connection:
        for name, why in connection.execute("SELECT * FROM unreadable").fetchall():
            meanwhile.print(f"left out: {name}: {why}", markup=False, soft_wrap=True)
        count = exported.export(connection, to, path)
    meanwhile.print(f"{count} cells in {path}", markup=False, soft_wrap=True)
    return 0
