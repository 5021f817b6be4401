"""`history`: what became of a model's numbers, over all stored runs."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]


def history(
    case: str,
    /,
    *,
    framework: Several = None,
    last: int = 50,
    format: Literal["table", "csv", "json"] = "table",  # noqa: A002 (the option's name)
) -> int:
    """Show what became of a model's numbers over all stored runs.

    The case is MODEL, MODEL/TASK or MODEL/TASK/SHAPE. Each line has the ratio to the line before of the same variant on
    the same case, machine and threads; `diff` says whether it is a difference.

    Args:
        case: Whose history.
        framework: Only these, each FRAMEWORK or FRAMEWORK:VARIANT.
        last: At most so many cells, the latest.
        format: How it is printed.
    """
    from arena_py.cli.tables import console
    from arena_py.results import history as stored

    if case.count("/") > 2 or not all(case.split("/")):
        raise ArenaError(f"{case}: not a case", hint="MODEL, MODEL/TASK or MODEL/TASK/SHAPE")
    if last < 1:
        raise ArenaError(f"--last {last} is less than 1")
    meanwhile = console(stderr=True)
    with stored.opened(lambda count: _say(meanwhile, f"reading {count} runs")) as connection:
        rows = stored.history(connection, case, labels=framework or (), last=last)
        known = stored.cases(connection)
        for path, why in connection.execute("SELECT * FROM unreadable").fetchall():
            _say(meanwhile, f"left out: {path}: {why}")
    if not rows:
        hint = f"stored: {', '.join(known[:20])}" if known else "python -m arena_py compare makes the first run"
        raise ArenaError(f"no stored run has {case}" + (" of these frameworks" if framework else ""), hint=hint)
    if format == "table":
        _table(rows, console())
    elif format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=1).decode() + "\n")
    else:
        writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


def _table(rows: list[dict[str, Any]], out: Console) -> None:
    from tabulate import tabulate

    from arena_py.report import text
    from arena_py.results.document import Interval

    body = []
    for row in rows:
        median = ""
        if row["median_ns"] is not None:
            median = text.measured(Interval(row["median_ns"], row["low_ns"], row["high_ns"], row["confidence"]))
        cells = (
            row["started"],
            f"{row['model']}/{row['task']}/{row['shape']}",
            f"{row['framework']}:{row['variant']}",
            row["version"] or "",
            row["status"],
            median,
            f"{row['ratio']:.3f}" if row["ratio"] is not None else "",
            row["run"],
        )
        body.append([text.plain(cell) for cell in cells])
    head = ("started", "case", "runner", "version", "status", "median", "x before", "run")
    made = str(tabulate(body, head, tablefmt="simple", disable_numparse=True))
    out.print(made, markup=False, highlight=False, soft_wrap=True)


def _say(meanwhile: Console, words: str) -> None:
    meanwhile.print(words, markup=False, highlight=False, soft_wrap=True)
