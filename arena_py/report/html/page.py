"""One page: some runs in one file that needs nothing else, or one that shares scripts with others in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from arena_py import __version__
from arena_py.footprint.document import Audit
from arena_py.report import csv
from arena_py.report.html import assets
from arena_py.report.html.cells import RunView, machine_of, run_view
from arena_py.report.html.history import steps
from arena_py.report.html.method import config, sections
from arena_py.results.document import Run
from arena_py.results.store import encode

if TYPE_CHECKING:
    from jinja2 import Environment

VIEWS = {
    "matrix": "Matrix",
    "speed": "Speed",
    "tradeoff": "Trade-off",
    "scaling": "Scaling",
    "phases": "Phases",
    "training": "Training",
    "footprint": "Footprint",
    "history": "History",
    "table": "Table",
    "method": "Machine and method",
}
FILTERS = ("framework", "language", "backend", "model", "task", "precision", "status")


@dataclass(frozen=True)
class Shared:
    """Where a page of a site finds what all of its pages share, relative to it."""

    folder: str
    """With a slash at its end."""
    index: str


@cache
def environment() -> Environment:
    """The templates, every value in them escaped."""
    from jinja2 import Environment as Templates  # noqa: PLC0415 (only a page needs it)
    from jinja2 import FileSystemLoader, StrictUndefined  # noqa: PLC0415 (as above)

    return Templates(
        loader=FileSystemLoader(assets.TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def keyed(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """The runs, oldest first, each with a name of its own."""
    counts: Counter[str] = Counter()
    found = []
    for run in sorted(runs, key=lambda run: (run.started, run.id)):
        counts[run.id] += 1
        found.append((run.id if counts[run.id] == 1 else f"{run.id} ({counts[run.id]})", run))
    return found


def page(
    runs: Sequence[Run],
    *,
    audits: Sequence[Audit] = (),
    title: str = "Arena",
    shared: Shared | None = None,
    note: str = "",
) -> str:
    """The page of some runs.

    Args:
        runs: at least one.
        audits: that may know what the runs' variants are made of.
        title: of the page.
        shared: of a page in a site; scripts and styles are in the page itself when absent.
        note: what a reader must know of the selection.
    """
    found = keyed(runs)
    views = [run_view(run, key, audits) for key, run in found]
    data = {"runs": views, "steps": steps(found)}
    context: dict[str, Any] = {
        "title": title,
        "note": note,
        "version": __version__,
        "views": VIEWS,
        "filters": {name: _varied(views, name) for name in FILTERS},
        "audited": any(view.footprints for view in views),
        "runs": [
            {
                "key": key,
                "name": f"{run.started[:16].replace('T', ' ')} · {run.suite} · {machine_of(run)}",
                "sections": sections(run),
                "config": config(run),
                "document": assets.packed(encode(run)),
                "csv": assets.packed(csv.csv(run).encode()),
            }
            for key, run in found
        ],
        "cells": len(views[-1].cells),
        "data": _safe(assets.embedded(data)),
        "shared": shared,
        "policy": policy(shared),
    }
    if shared is None:
        context |= {
            "theme": _safe(assets.theme()),
            "styles": _safe(assets.styles()),
            "scripts": _safe(assets.scripts()),
            "vega": assets.packed_vega(),
        }
    return environment().get_template("page.html.j2").render(context)


def _varied(views: Sequence[RunView], name: str) -> bool:
    """Whether there is anything to choose; a filter that is not shown from the start moves nothing later."""
    return len({getattr(cell, name) for view in views for cell in view.cells}) > 1


def policy(shared: Shared | None) -> str:
    """The content security policy: what came with the page runs, nothing else does, and nothing is fetched."""
    if shared:
        script, style = "'self'", "'self'"
    else:
        own = (assets.theme(), assets.scripts(), assets.vega())
        script, style = " ".join(map(assets.source_hash, own)), assets.source_hash(assets.styles())
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _safe(own: str) -> Any:
    """What is no foreign text: our own files, and JSON without a character that HTML knows."""
    from markupsafe import Markup  # noqa: PLC0415 (comes with jinja2)

    return Markup(own)  # noqa: S704 (see above)
