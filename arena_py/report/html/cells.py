"""What the views draw of a run: a flat record a cell, its numbers for sorting and its words as every table has them.

The whole document, with samples, tensors and logs, is in the page too, compressed; a view asks for it when it needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arena_py.footprint.document import Audit
from arena_py.report import text
from arena_py.report.columns import COLUMNS, is_tied
from arena_py.report.html.footprints import Footprint, footprints
from arena_py.report.html.ratios import Ratio, ratios
from arena_py.report.verdict import winners
from arena_py.results.document import Cell, Interval, Run
from arena_py.results.noise import fingerprint
from arena_py.results.phases import phases
from arena_py.results.summary import by_case

UNKNOWN = "unknown"


class Bounds(msgspec.Struct, frozen=True, array_like=True):
    """An interval as the scripts take it."""

    value: float
    low: float
    high: float
    confidence: float


class CellView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One cell."""

    index: int
    """Its position in the document."""
    label: str
    framework: str
    language: str
    backend: str
    model: str
    task: str
    shape: str
    case: str
    precision: str
    status: str
    version: str = ""
    reason: str | None = None
    unit: str = ""
    units: int = 0
    """Of one execution."""
    rank: int | None = None
    tied: bool = False
    """Shares the first rank without being the fastest."""
    median_ns: Bounds | None = None
    best: Bounds | None = None
    """The ratio to the fastest of its case."""
    against: dict[str, Ratio] = {}
    """The ratio to other cells of its case, by label (`ratios.py`)."""
    units_per_s: Bounds | None = None
    first_token_ns: Bounds | None = None
    per_token_ns: Bounds | None = None
    joules: dict[str, Bounds] = {}
    peak_share: float | None = None
    startup_ns: int | None = None
    load_ns: int | None = None
    prepare_ns: int | None = None
    first_ns: int | None = None
    peak_rss_bytes: int | None = None
    device_bytes: int | None = None
    shipped_bytes: int | None = None
    error: float | None = None
    limit: float | None = None
    curve: bool = False
    """Whether the document has its losses, step by step."""
    shown: list[str | None] = []
    """Its words in each of the columns."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    key: str
    """Its name in links: unique in the page."""
    started: str
    suite: str
    machine: str
    fingerprint: str
    threads: int
    floors: dict[str, float]
    """The machine's noise floor by task."""
    columns: list[str]
    winners: dict[str, str]
    """A line for each case."""
    cells: list[CellView]
    footprints: list[Footprint]
    """What audits know of its variants."""


def run_view(run: Run, key: str, audits: Sequence[Audit] = ()) -> RunView:
    """A run as the views draw it, with what audits know of its variants."""
    found = ratios(run)
    return RunView(
        key=key,
        started=run.started,
        suite=run.suite,
        machine=machine_of(run),
        fingerprint=fingerprint(run.machine),
        threads=run.threads,
        floors=run.settings.noise_floor,
        columns=[column.title for column in COLUMNS],
        winners=dict(zip(map(text.plain, by_case(run.cells)), winners(run), strict=True)),
        cells=[_cell(cell, index, found.get((cell.case, cell.label), {})) for index, cell in enumerate(run.cells)],
        footprints=footprints(run, audits),
    )


def machine_of(run: Run) -> str:
    """`Intel Xeon, 2 cores, 24 GiB`."""
    machine = run.machine
    return text.plain(f"{machine.cpu}, {machine.cores} cores, {text.size(machine.memory_bytes)}")


def _cell(cell: Cell, index: int, against: dict[str, Ratio]) -> CellView:
    summary, found = cell.summary, phases(cell)
    worst = cell.verification.worst if cell.verification else None
    return CellView(
        index=index,
        label=text.plain(cell.label),
        framework=text.plain(cell.framework),
        language=cell.language or UNKNOWN,
        backend=cell.backend or UNKNOWN,
        model=text.plain(cell.model),
        task=text.plain(cell.task),
        shape=text.plain(cell.shape),
        case=text.plain(cell.case),
        precision=cell.precision,
        status=cell.status,
        version=_version(cell),
        reason=cell.reason,
        unit=text.plain(cell.unit),
        units=cell.units_per_execution,
        rank=summary.rank if summary else None,
        tied=is_tied(cell),
        median_ns=_bounds(summary.median_ns) if summary else None,
        best=_bounds(summary.ratio_to_best) if summary else None,
        against={text.plain(label): each for label, each in against.items()},
        units_per_s=_bounds(summary.units_per_s) if summary else None,
        first_token_ns=_bounds(summary.first_token_ns) if summary else None,
        per_token_ns=_bounds(summary.per_token_ns) if summary else None,
        joules={part: Bounds(*msgspec.structs.astuple(each)) for part, each in cell.energy.joules.items()}
        if cell.energy
        else {},
        peak_share=cell.peak_share,
        startup_ns=found.startup_ns if found else None,
        load_ns=found.load_ns if found else None,
        prepare_ns=found.prepare_ns if found else None,
        first_ns=found.first_ns if found else None,
        peak_rss_bytes=found.peak_rss_bytes if found else None,
        device_bytes=found.device_bytes if found else None,
        shipped_bytes=cell.shipped_bytes,
        error=worst.error if worst else None,
        limit=worst.limit if worst else None,
        curve=bool(cell.verification and cell.verification.reference_curve),
        shown=[column.value(cell) for column in COLUMNS],
    )


def _version(cell: Cell) -> str:
    if cell.build:
        return cell.build.version
    return cell.description.framework.version if cell.description else ""


def _bounds(interval: Interval | None) -> Bounds | None:
    return Bounds(interval.value, interval.low, interval.high, interval.confidence) if interval else None
