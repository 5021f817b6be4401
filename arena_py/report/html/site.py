"""Many runs as static pages for any web server: an index, a page a run, a page a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from arena_py import __version__
from arena_py.errors import ArenaError
from arena_py.footprint.document import Audit
from arena_py.report.html import assets
from arena_py.report.html.cells import machine_of
from arena_py.report.html.page import Shared, environment, keyed, page, policy
from arena_py.results import store
from arena_py.results.document import Run

ASSETS = "assets"
UNFIT = re.compile(r"[^\w.-]+")


def write(runs: Sequence[Run], folder: Path, audits: Sequence[Audit] = ()) -> Path:
    """Write the pages; what else is in the folder stays.

    Args:
        runs: each has its page.
        folder: is made when it is not there.
        audits: that may know what the runs' variants are made of.

    Returns:
        The index.

    Raises:
        ArenaError: it cannot be written.
    """
    try:
        for part in (folder / ASSETS, folder / "runs", folder / "models"):
            part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArenaError(f"{error.filename}: cannot be made: {error.strerror}", hint="choose another --site") from error
    for name, content in (
        ("theme.js", assets.theme()),
        ("page.css", assets.styles()),
        ("arena.js", assets.scripts()),
        ("vega.js", assets.vega()),
    ):
        store.write(folder / ASSETS / name, content.encode())
    below = Shared(folder=f"../{ASSETS}/", index="../index.html")
    found, names = keyed(runs), _Names()
    of_runs = []
    for key, run in found:
        path = f"runs/{names.of(key)}.html"
        store.write(folder / path, page([run], audits=audits, title=f"Arena: {key}", shared=below).encode())
        of_runs.append(_entry(key, run, path))
    of_models = []
    for model in sorted({cell.model for run in runs for cell in run.cells}):
        parts = [part for part in (of_model(run, model) for run in runs) if part.cells]
        path = f"models/{names.of(model)}.html"
        note = f"The cells of {model} alone, of {len(parts)} runs: the documents in this page hold no others."
        store.write(
            folder / path, page(parts, audits=audits, title=f"Arena: {model}", shared=below, note=note).encode()
        )
        of_models.append({"name": model, "path": path, "runs": len(parts)})
    shared = Shared(folder=f"{ASSETS}/", index="index.html")
    context: dict[str, Any] = {
        "title": "Arena",
        "version": __version__,
        "shared": shared,
        "policy": policy(shared),
        "runs": of_runs[::-1],
        "models": of_models,
    }
    index = folder / "index.html"
    store.write(index, environment().get_template("index.html.j2").render(context).encode())
    return index


def of_model(run: Run, model: str) -> Run:
    """The run as if nothing else had been asked for; where its time went is the whole run's, and so left out."""
    cells = [cell for cell in run.cells if cell.model == model]
    cases = {cell.case for cell in cells}
    return replace(
        run,
        cells=cells,
        cases=[prepared for prepared in run.cases if prepared.case in cases],
        observations=[each for each in run.observations if each.case in cases],
        breakdown=None,
    )


def _entry(key: str, run: Run, path: str) -> dict[str, Any]:
    counts = Counter(cell.status for cell in run.cells)
    return {
        "key": key,
        "path": path,
        "started": run.started,
        "suite": run.suite,
        "machine": machine_of(run),
        "threads": run.threads,
        "cells": len(run.cells),
        "statuses": ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.most_common()),
    }


class _Names:
    """File names that any server and file system takes, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, words: str) -> str:
        stem = UNFIT.sub("-", words).strip("-.")[:100] or "page"
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name.lower())
        return name
