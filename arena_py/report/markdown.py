"""The results as Markdown, complete: `run.md` beside `run.json`."""

from __future__ import annotations

import html
import re

from tabulate import tabulate

from arena_py.report import text
from arena_py.report.builds import builds
from arena_py.report.columns import rows
from arena_py.report.curves import curve_table
from arena_py.report.notes import notes
from arena_py.report.verdict import means, winners
from arena_py.results.document import Cell, Run
from arena_py.results.summary import by_case, in_order

SPECIAL = re.compile(r"([\\`*_\[\]|#~])")


def markdown(run: Run) -> str:
    """The whole run as one page."""
    parts = [f"# Arena: {escaped(run.suite)}", _facts(run), "## Results", _list(winners(run))]
    parts += ["## Over all cases", _list(overall)] if (overall := means(run)) else []
    for case, cells in by_case(run.cells).items():
        parts += [f"## {escaped(case)}", *case_parts(in_order(cells))]
    own = {
        cell.label: cell.description.own_kernels
        for cell in run.cells
        if cell.description is not None and cell.description.own_kernels
    }
    for title, lines in (
        ("Notes", notes(run)),
        ("Warnings", run.warnings),
        ("Builds", builds(run)),
        ("Kernels that a runner brings itself", [f"{label}: {', '.join(kernels)}" for label, kernels in own.items()]),
    ):
        if lines:
            parts += [f"## {title}", _list(lines)]
    if run.breakdown is not None:
        before = f"weights, inputs and references before: {text.duration(run.breakdown.preparation_ns)}"
        parts += ["## Where the time went", _list([text.spent(run.breakdown), before])]
    parts += [
        "## What was computed",
        _table(["case", "weights", "sha256", "reference sha256", "float32 noise"], _files(run)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(words: str) -> str:
    """Foreign words as text: no markup, no HTML, one line."""
    return SPECIAL.sub(r"\\\1", html.escape(text.plain(words), quote=False))


def _facts(run: Run) -> str:
    machine, sampling = run.machine, run.settings.sampling
    return _list(
        [
            f"{machine.cpu}, {machine.cores} cores, {text.size(machine.memory_bytes)}, "
            f"{machine.system} {machine.kernel}{', virtual' if machine.virtual else ''}",
            *machine.gpus,
            f"{run.threads} threads, {sampling.launches} launches, at least {sampling.min_samples} samples, "
            f"{sampling.budget_s:g} s a cell or ± {sampling.half_width:.1%}, seed {run.seed}",
            *(text.peaks(each) for each in (run.roofline, *run.device_rooflines) if each),
            f"arena {run.arena}, {run.started} to {run.finished or 'an interruption'}",
            " ".join(run.command),
        ]
    )


def case_parts(cells: list[Cell]) -> list[str]:
    """The tables of one case: what is ranked, what is not, the losses step by step."""
    ranked = [cell for cell in cells if cell.summary and cell.summary.rank]
    parts = []
    if ranked:
        columns, values = rows(ranked)
        parts.append(_table([column.title for column in columns], values))
    others = [
        [
            cell.label,
            cell.status,
            cell.reason or "",
            text.error_of(cell) or "",
            text.measured(cell.summary.median_ns) if cell.summary else "",
        ]
        for cell in cells
        if cell not in ranked
    ]
    if others:
        parts.append(_table(["not ranked", "status", "reason", "error / limit", "median"], others))
    if curves := curve_table(cells):
        parts += ["The loss at each step, and the runners' relative distance from it:", _table(*curves)]
    return parts


def _files(run: Run) -> list[list[str]]:
    return [
        [
            prepared.case,
            prepared.weights_source,
            prepared.weights_sha256[:16],
            prepared.reference_sha256[:16],
            ", ".join(f"{group} {error:.1e}" for group, error in prepared.noise.items()),
        ]
        for prepared in run.cases
    ]


def _table(head: list[str], body: list[list[str]]) -> str:
    rows_ = [[escaped(value) for value in row] for row in body]
    return str(tabulate(rows_, [escaped(title) for title in head], tablefmt="github", disable_numparse=True))


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)
