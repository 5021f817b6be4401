"""Runs as a comment of a pull request: who won, and everything else folded away, within what a forge takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from arena_py.report import text
from arena_py.report.markdown import case_parts, escaped
from arena_py.report.verdict import means, winners
from arena_py.results.document import Run
from arena_py.results.summary import by_case, in_order

MOST = 65_000
"""Characters of a comment; GitHub takes 65 536."""


def comment(runs: Sequence[Run]) -> str:
    """A part a run: what was measured, the winners, the tables of its cases folded.

    Cases that find no room are left out, and said to be.
    """
    page, left = "", 0
    for part in (part for run in runs for part in _parts(run)):
        if len(page) + len(part) + 200 > MOST:
            left += 1
        else:
            page += f"{part}\n\n"
    if left:
        page += f"{left} parts found no room here: `python -m arena_py report` makes a page of everything.\n"
    return page


def _parts(run: Run) -> Iterator[str]:
    counts = Counter(cell.status for cell in run.cells)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no cells"
    yield f"### Arena: {escaped(run.suite)}"
    yield f"{escaped(run.machine.cpu)}, {run.threads} threads, {escaped(run.started)}: {told}"
    yield "\n".join(f"- {escaped(line)}" for line in [*winners(run), *means(run)])
    broken = [
        cell for cell in run.cells if cell.status in ("wrong", "out_of_memory", "crashed", "timed_out", "not_built")
    ]
    if broken:
        lines = (
            f"- {escaped(f'{cell.case} {cell.label}')}: **{text.plain(cell.status)}** {escaped(cell.reason or '')}"
            for cell in broken
        )
        yield "\n".join(lines)
    for case, cells in by_case(run.cells).items():
        tables = "\n\n".join(case_parts(in_order(cells)))
        yield f"<details><summary>{escaped(case)}</summary>\n\n{tables}\n\n</details>"
