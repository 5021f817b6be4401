"""All stored runs as one table of cells, queried through DuckDB.

The documents under `artifacts/results` are the truth. What is read from them is kept in one Parquet file beside them,
with each document's time and size: a query reads again what is new or has changed, and forgets what is gone. The file
is replaced whole, so that two queries at once do no harm.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import msgspec

from arena_py.errors import ArenaError
from arena_py.results import store
from arena_py.results.document import Cell
from arena_py.results.noise import fingerprint
from arena_py.results.phases import phases

COLUMNS = {
    "path": "VARCHAR",
    "mtime_ns": "BIGINT",
    "bytes": "BIGINT",
    "unreadable": "VARCHAR",
    "run": "VARCHAR",
    "started": "VARCHAR",
    "finished": "VARCHAR",
    "suite": "VARCHAR",
    "arena": "VARCHAR",
    "cpu": "VARCHAR",
    "machine": "VARCHAR",
    "threads": "INTEGER",
    "model": "VARCHAR",
    "task": "VARCHAR",
    "shape": "VARCHAR",
    "framework": "VARCHAR",
    "variant": "VARCHAR",
    "version": "VARCHAR",
    "precision": "VARCHAR",
    "boundary": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "rank": "INTEGER",
    "median_ns": "DOUBLE",
    "low_ns": "DOUBLE",
    "high_ns": "DOUBLE",
    "confidence": "DOUBLE",
    "samples": "INTEGER",
    "units_per_s": "DOUBLE",
    "unit": "VARCHAR",
    "startup_ns": "BIGINT",
    "load_ns": "BIGINT",
    "prepare_ns": "BIGINT",
    "first_ns": "BIGINT",
    "peak_rss_bytes": "BIGINT",
    "shipped_bytes": "BIGINT",
    "error": "DOUBLE",
    "error_limit": "DOUBLE",
    "weights_sha256": "VARCHAR",
}
"""Of the table `cells`, a row a cell; the first four belong to the index."""
INDEX = f"index-{zlib.crc32(repr(COLUMNS).encode()):08x}.parquet"
"""By its columns: one with others is not read."""
TYPES = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())

Row: TypeAlias = dict[str, Any]
Stamp: TypeAlias = tuple[int, int]


@contextlib.contextmanager
def opened(progress: Callable[[int], None] = lambda _: None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the up-to-date table `cells`; documents that cannot be read are in `unreadable`.

    Args:
        progress: told how many documents are going to be read, when there are any.

    Raises:
        ArenaError: the folder of results cannot be read, or the index cannot be written.
    """
    with duckdb.connect(":memory:") as connection:
        _update(connection, progress)
        hidden = "path, mtime_ns, bytes, unreadable"
        connection.execute(
            f"CREATE VIEW cells AS SELECT * EXCLUDE ({hidden}) FROM indexed WHERE model IS NOT NULL"  # noqa: S608
        )
        connection.execute(
            "CREATE VIEW unreadable AS SELECT path, unreadable FROM indexed WHERE unreadable IS NOT NULL"
        )
        yield connection


def _update(connection: duckdb.DuckDBPyConnection, progress: Callable[[int], None]) -> None:
    """Make the table `indexed` what the documents say."""
    index = store.results() / INDEX
    connection.execute(f"CREATE TABLE indexed ({TYPES})")
    _load(connection, index)
    known: dict[str, Stamp] = {
        path: (mtime_ns, size)
        for path, mtime_ns, size in connection.execute("SELECT DISTINCT path, mtime_ns, bytes FROM indexed").fetchall()
    }
    there = dict(_documents())
    stale = [path for path, stamp in known.items() if there.get(path) != stamp]
    unread = [path for path, stamp in there.items() if known.get(path) != stamp]
    if not stale and not unread:
        return
    if unread:
        progress(len(unread))
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "rows.json"
        with lines.open("wb") as file:
            for path in unread:
                for row in _rows(path, there[path]):
                    file.write(msgspec.json.encode(row) + b"\n")
        if stale:
            connection.execute("DELETE FROM indexed WHERE path IN (SELECT unnest(?))", [stale])
        if unread:
            connection.execute(
                "INSERT INTO indexed BY NAME SELECT * FROM read_json(?, format = 'newline_delimited', columns = ?)",
                [str(lines), COLUMNS],
            )
    _keep(connection, index)


def _load(connection: duckdb.DuckDBPyConnection, index: Path) -> None:
    """An index that is not one is made anew."""
    if index.is_file():
        with contextlib.suppress(duckdb.Error):
            connection.execute("INSERT INTO indexed BY NAME SELECT * FROM read_parquet(?)", [str(index)])


def _keep(connection: duckdb.DuckDBPyConnection, index: Path) -> None:
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=index.parent, prefix=f".{INDEX}.")
        os.close(descriptor)
        scratch = Path(name)
        try:
            connection.execute("COPY indexed TO '" + name.replace("'", "''") + "' (FORMAT parquet)")
            for other in index.parent.glob("index-*.parquet"):
                if other != index:
                    other.unlink(missing_ok=True)
            scratch.replace(index)
        finally:
            scratch.unlink(missing_ok=True)
    except (OSError, duckdb.Error) as error:
        raise ArenaError(f"{index}: cannot be written: {error}", exit_code=1) from error


def _documents() -> Iterator[tuple[str, Stamp]]:
    """Every run document by the name of its folder, with its time and size."""
    try:
        with os.scandir(store.results()) as folders:
            for folder in folders:
                with contextlib.suppress(OSError):
                    found = os.stat(os.path.join(folder.path, store.RUN))  # noqa: PTH116, PTH118 (ten thousand times)
                    yield folder.name, (found.st_mtime_ns, found.st_size)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArenaError(f"{store.results()}: {error.strerror or error}", exit_code=1) from error


def _rows(path: str, stamp: Stamp) -> Iterator[Row]:
    """The cells of a document; at least one row, so that it is not read again."""
    base: Row = {"path": path, "mtime_ns": stamp[0], "bytes": stamp[1]}
    try:
        run = store.load(store.results() / path / store.RUN)
    except ArenaError as error:
        yield base | {"unreadable": error.message}
        return
    base |= {
        "run": path,
        "started": run.started,
        "finished": run.finished,
        "suite": run.suite,
        "arena": run.arena,
        "cpu": run.machine.cpu,
        "machine": fingerprint(run.machine),
        "threads": run.threads,
    }
    if not run.cells:
        yield base
    weights = {prepared.case: prepared.weights_sha256 for prepared in run.cases}
    for cell in run.cells:
        yield base | _of_cell(cell, weights)


def _of_cell(cell: Cell, weights: Mapping[str, str]) -> Row:
    summary, found = cell.summary, phases(cell)
    worst = cell.verification.worst if cell.verification else None
    row: Row = {
        "model": cell.model,
        "task": cell.task,
        "shape": cell.shape,
        "framework": cell.framework,
        "variant": cell.variant,
        "version": cell.build.version if cell.build else None,
        "precision": cell.precision,
        "boundary": cell.boundary,
        "status": cell.status,
        "reason": cell.reason,
        "unit": cell.unit,
        "shipped_bytes": cell.shipped_bytes,
        "weights_sha256": weights.get(cell.case),
        "error": worst.error if worst else None,
        "error_limit": worst.limit if worst else None,
    }
    if summary:
        row |= {
            "rank": summary.rank,
            "median_ns": summary.median_ns.value,
            "low_ns": summary.median_ns.low,
            "high_ns": summary.median_ns.high,
            "confidence": summary.median_ns.confidence,
            "samples": summary.samples,
            "units_per_s": summary.units_per_s.value,
        }
    if found:
        row |= {
            "startup_ns": found.startup_ns,
            "load_ns": found.load_ns,
            "prepare_ns": found.prepare_ns,
            "first_ns": found.first_ns,
            "peak_rss_bytes": found.peak_rss_bytes,
        }
    return row


def history(
    connection: duckdb.DuckDBPyConnection, case: str, *, labels: Iterable[str] = (), last: int = 50
) -> list[Row]:
    """The latest cells of a model, a task of it, or one case, oldest first, each with its ratio to the one before.

    `ratio` compares with the cell before of the same variant and case on the same machine with as many threads.

    Args:
        connection: of `opened`.
        case: MODEL, MODEL/TASK or MODEL/TASK/SHAPE.
        labels: only these, each FRAMEWORK or FRAMEWORK:VARIANT.
        last: at most so many.
    """
    model, task, shape = (*case.split("/"), None, None)[:3]
    found = connection.execute(
        """
        SELECT *, median_ns / lag(median_ns IGNORE NULLS) OVER (
            PARTITION BY model, task, shape, framework, variant, machine, threads ORDER BY started, run
        ) AS ratio
        FROM cells
        WHERE model = $model AND ($task IS NULL OR task = $task) AND ($shape IS NULL OR shape = $shape)
          AND (len($labels) = 0 OR list_contains($labels, framework)
               OR list_contains($labels, framework || ':' || variant))
        ORDER BY started DESC, run DESC, task, shape, framework, variant
        LIMIT $last
        """,
        {"model": model, "task": task, "shape": shape, "labels": list(labels), "last": last},
    )
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in reversed(found.fetchall())]


def cases(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Every MODEL/TASK that any run has."""
    rows = connection.execute("SELECT DISTINCT model || '/' || task FROM cells ORDER BY 1").fetchall()
    return [row[0] for row in rows]
