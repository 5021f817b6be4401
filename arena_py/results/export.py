"""All stored cells as a file for other programs."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb

from arena_py.errors import ArenaError

Format: TypeAlias = Literal["parquet", "csv", "sqlite"]
SUFFIXES: dict[Format, str] = {"parquet": ".parquet", "csv": ".csv", "sqlite": ".sqlite"}
SQLITE_TYPES = {"VARCHAR": "TEXT", "BIGINT": "INTEGER", "INTEGER": "INTEGER", "DOUBLE": "REAL"}


def export(connection: duckdb.DuckDBPyConnection, to: Format, path: Path) -> int:
    """Write the table `cells`, whole or not at all; what was there is replaced.

    Args:
        connection: of `history.opened`.
        to: the format.
        path: of the file.

    Returns:
        How many cells were written.

    Raises:
        ArenaError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIXES[to])
        os.close(descriptor)
        scratch = Path(name)
        try:
            if to == "sqlite":
                _sqlite(connection, scratch)
            else:
                options = "FORMAT parquet" if to == "parquet" else "FORMAT csv, HEADER true"
                quoted = name.replace("'", "''")
                ordered = "SELECT * FROM cells ORDER BY started, run"
                connection.execute(f"COPY ({ordered}) TO '{quoted}' ({options})")
            scratch.chmod(0o644)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except (OSError, duckdb.Error, sqlite3.Error) as error:
        raise ArenaError(f"{path}: cannot be written: {error}", exit_code=1) from error
    row = connection.execute("SELECT count(*) FROM cells").fetchone()
    return int(row[0]) if row else 0


def _sqlite(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """By Python's own module: DuckDB's extension would have to be downloaded."""
    found = connection.execute("SELECT * FROM cells ORDER BY started, run")
    described = found.description or []
    columns = ", ".join(f'"{column[0]}" {SQLITE_TYPES.get(str(column[1]), "TEXT")}' for column in described)
    marks = ", ".join("?" * len(described))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE cells ({columns})")
        database.executemany(f"INSERT INTO cells VALUES ({marks})", found.fetchall())  # noqa: S608 (question marks)
