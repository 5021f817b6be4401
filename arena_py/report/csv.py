"""The results as CSV: a row a cell, plain numbers, units in the names."""

from __future__ import annotations

import csv as writer
import io

from arena_py.results.document import Cell, Run
from arena_py.results.phases import phases
from arena_py.results.summary import in_order


def csv(run: Run) -> str:
    """A head and a row for each cell, cases in the run's order and each ranked first to last."""
    return written([_row(cell) for cell in _ordered(run)])


def written(rows: list[dict[str, object]]) -> str:
    """A head and the rows; nothing when there are none."""
    stream = io.StringIO()
    if rows:
        table = writer.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return stream.getvalue()


def _ordered(run: Run) -> list[Cell]:
    cases = dict.fromkeys(cell.case for cell in run.cells)
    return [cell for case in cases for cell in in_order(cell for cell in run.cells if cell.case == case)]


def _row(cell: Cell) -> dict[str, object]:
    summary, found = cell.summary, phases(cell)
    worst = cell.verification.worst if cell.verification else None
    median = summary.median_ns if summary else None
    ratio = summary.ratio_to_best if summary else None
    values: dict[str, object] = {
        "framework": cell.framework,
        "variant": cell.variant,
        "model": cell.model,
        "task": cell.task,
        "shape": cell.shape,
        "status": cell.status,
        "reason": cell.reason,
        "rank": summary.rank if summary else None,
        "precision": cell.precision,
        "boundary": cell.boundary,
        "device": cell.device,
        "threads": cell.threads,
        "median_ns": median.value if median else None,
        "median_low_ns": median.low if median else None,
        "median_high_ns": median.high if median else None,
        "confidence": median.confidence if median else None,
        "ratio_to_best": ratio.value if ratio else None,
        "ratio_low": ratio.low if ratio else None,
        "ratio_high": ratio.high if ratio else None,
        "units_per_s": summary.units_per_s.value if summary else None,
        "unit": cell.unit,
        "samples": summary.samples if summary else 0,
        "outliers": summary.outliers if summary else None,
        "launches": len(cell.launches),
        "first_ns": found.first_ns if found else None,
        "prepare_ns": found.prepare_ns if found else None,
        "load_ns": found.load_ns if found else None,
        "startup_ns": found.startup_ns if found else None,
        "peak_rss_bytes": found.peak_rss_bytes if found else None,
        "device_bytes": found.device_bytes if found else None,
        "shipped_bytes": cell.shipped_bytes,
        "cpu_joules": _joules(cell, "cpu"),
        "gpu_joules": _joules(cell, "gpu"),
        "energy_valid": cell.energy.valid if cell.energy else None,
        "error": worst.error if worst else None,
        "limit": worst.limit if worst else None,
        "worst_tensor": worst.name if worst else None,
        "loss": cell.verification.loss if cell.verification else None,
        "reference_loss": cell.verification.reference_loss if cell.verification else None,
    }
    return {name: "" if value is None else value for name, value in values.items()}


def _joules(cell: Cell, part: str) -> float | None:
    found = cell.energy.joules.get(part) if cell.energy else None
    return found.value if found else None
