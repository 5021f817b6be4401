"""`diff`: two runs, or a run and a baseline, cell by cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from arena_py.results.difference import Difference
    from arena_py.results.document import Run
    from arena_py.results.noise import Floor

WRONG = 1
REGRESSION = 3
"""Neither 1, which says that something is wrong or broken, nor 2, which says that the command was."""


def diff(
    run_a: str | None = None,
    run_b: str | None = None,
    /,
    *,
    baseline: str | None = None,
    fail_above: str | None = None,
    format: Literal["table", "md", "json"] = "table",  # noqa: A002 (the option's name)
) -> int:
    """Compare two runs cell by cell: regressions, improvements, ties, what is newly wrong or gone.

    `diff RUN_A RUN_B` compares RUN_B with RUN_A; `diff --baseline NAME [RUN]` compares a run, the latest when absent,
    with a baseline that `compare --save-baseline NAME` kept. A run is the name of a folder under artifacts/results, a
    path, or `latest`; two audits (folders or paths of `audit.json`) show what grew, by crate and by package. Nothing is
    refused: where machine, versions, weights or threads differ, that is said first.
    Ends with 1 when a cell that passed is now wrong or broken, with 3 when one became slower, with 0 otherwise. A cell
    of a single launch is `unclear` unless it ties or `aa` has found this machine's noise floor.

    Args:
        run_a: What is compared with.
        run_b: What is compared.
        baseline: Compare with this baseline instead.
        fail_above: End with 3 only for what became slower by more than this, as in `5%` or `0.05`.
        format: How the difference is printed.
    """
    from arena_py.results import baselines, store
    from arena_py.results.difference import difference

    limit = share(fail_above)
    if baseline is None and run_a is not None and run_b is not None and _grown(run_a, run_b, format):
        return 0
    if baseline is not None:
        if run_b is not None:
            raise ArenaError("--baseline takes one run", hint="diff --baseline NAME RUN, or diff RUN_A RUN_B")
        before, after = baselines.load(baseline), store.named(run_a or "latest")
    elif run_a is None or run_b is None:
        raise ArenaError("diff needs two runs", hint="diff RUN_A RUN_B, or diff --baseline NAME [RUN]")
    else:
        before, after = store.named(run_a), store.named(run_b)
    found = difference(before, after, _floor(after))
    print_(found, format)
    return exit_code(found, limit)


def against(before: Run, after: Run, format_: str, limit: float) -> int:
    """A run that was just made, compared with a baseline: told after its own results where those are for readers."""
    from arena_py.cli.tables import console
    from arena_py.report import difference as report
    from arena_py.results.difference import difference

    found = difference(before, after, _floor(after))
    # Standard output holds one document; the comparison of a program's own is `diff --format json`.
    report.show(found, console(stderr=format_ != "table"))
    return exit_code(found, limit)


def exit_code(found: Difference, limit: float = 0.0) -> int:
    """1 for what is newly wrong, 3 for what is slower by more than `limit`, 0 otherwise."""
    if found.having("newly wrong"):
        return WRONG
    slower = (cell for cell in found.having("regression") if cell.ratio and cell.ratio.value - 1 > limit)
    return REGRESSION if any(slower) else 0


def share(words: str | None) -> float:
    """`5%` or `0.05` as a share; 0 when absent.

    Raises:
        ArenaError: neither.
    """
    if words is None:
        return 0.0
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value >= 1 and not words.endswith("%")):
        raise ArenaError(f"--fail-above {words}: not a share", hint="as in --fail-above 5% or --fail-above 0.05")
    return value


def _grown(name_a: str, name_b: str, format_: str) -> bool:
    """Compare two audits, if these are names of some.

    Raises:
        ArenaError: only one of them is.
    """
    from arena_py.results import audits

    paths = [audits.find(name) for name in (name_a, name_b)]
    if paths[0] is None and paths[1] is None:
        return False
    if paths[0] is None or paths[1] is None:
        other = name_a if paths[0] is None else name_b
        raise ArenaError(f"{other} is not an audit, the other one is", hint="diff two audits, or two runs")
    from arena_py.cli.tables import console
    from arena_py.footprint.growth import difference
    from arena_py.report import growth as report

    found = difference(audits.load(paths[0]), audits.load(paths[1]))
    if format_ == "table":
        report.show(found, console())
    else:
        sys.stdout.write({"md": report.markdown, "json": report.json}[format_](found))
    return True


def _floor(run: Run) -> Floor | None:
    from arena_py.results import noise

    return noise.load(run.machine, run.threads)


def print_(found: Difference, format_: str) -> None:
    """The difference on standard output."""
    from arena_py.report import difference as report

    if format_ == "table":
        from arena_py.cli.tables import console

        report.show(found, console())
        return
    sys.stdout.write({"md": report.markdown, "json": report.json}[format_](found))
