"""The newest passed row of every variant on every case of a suite, from a folder of stored runs, as Markdown tables.

    python benchmarks/newest_rows.py docs/results/h200 [--without composed-causal]... [--against pytorch:cudagraphs]

The first table has medians in milliseconds, of whichever run measured the variant last: machines differ, so that it
says what is there and how large it is. The second has ratios to the row of `--against` in the newest run that has both,
and the share of the machine's measured peak that the two reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arena_py.measure.plan import Selection, make_plan
from arena_py.report import text
from arena_py.results import store
from arena_py.results.document import Cell, Run

NS_PER_MS = 1e6


@dataclass(frozen=True)
class Row:
    """A cell and the run that it is of."""

    run: Run
    cell: Cell

    @property
    def median_ns(self) -> float:
        """Of its samples."""
        assert self.cell.summary is not None
        return self.cell.summary.median_ns.value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", action="append", default=[], help="name of a run to leave out")
    parser.add_argument("--against", default="pytorch:cudagraphs", help="FRAMEWORK:VARIANT")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--suite", default="standard")
    options = parser.parse_args()
    cases = [case.name for case in make_plan(Selection(suite=options.suite)).cases]
    rows = [row for row in _rows(options.folder, options.without) if row.cell.precision == options.precision]
    variants = sorted({row.cell.label for row in rows if row.cell.case in cases})
    _medians(cases, variants, rows)
    _ratios(cases, variants, rows, options.against)
    return 0


def _rows(folder: Path, without: list[str]) -> Iterator[Row]:
    """What passed within the boundary `host`, the newest last."""
    runs = [store.load(path) for path in sorted(folder.rglob("run.json")) if path.parent.name not in without]
    for run in sorted(runs, key=lambda run: run.started):
        for cell in run.cells:
            if cell.status == "passed" and cell.boundary == "host" and cell.summary is not None:
                yield Row(run, cell)


def _medians(cases: list[str], variants: list[str], rows: list[Row]) -> None:
    newest = {(row.cell.case, row.cell.label): row for row in rows}
    _line(["case", *variants])
    _line(["---", *["---:" for _ in variants]])
    for case in cases:
        found = (newest.get((case, variant)) for variant in variants)
        _line([case, *(text.number(row.median_ns / NS_PER_MS) if row else "" for row in found)])
    print()


def _ratios(cases: list[str], variants: list[str], rows: list[Row], against: str) -> None:
    others = [variant for variant in variants if variant != against]
    _line(["case", *others])
    _line(["---", *["---:" for _ in others]])
    for case in cases:
        _line([case, *(_ratio([row for row in rows if row.cell.case == case], variant, against) for variant in others)])


def _ratio(rows: list[Row], variant: str, against: str) -> str:
    """Of the newest run that has both."""
    rivals = {id(row.run): row for row in rows if row.cell.label == against}
    for row in reversed(rows):
        if row.cell.label == variant and (rival := rivals.get(id(row.run))):
            return f"{row.median_ns / rival.median_ns:.2f} ({_share(rival)}, {_share(row)})"
    return ""


def _share(row: Row) -> str:
    return "?" if row.cell.peak_share is None else f"{row.cell.peak_share:.0%}"


def _line(cells: list[str]) -> None:
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(main())
