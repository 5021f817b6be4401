"""Suite `quick` with and without hostile runners among five good ones: what became of the good ones' cells.

    python benchmarks/hostile_beside.py [--model MODEL...]

The good ones are those that are built. The hostile ones (`tests/contract/hostile.py`) take the places of others. Ends
with 1 when the status or the error of a good cell is another one than without them, or a hostile one passed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from arena_py import build
from arena_py.build import BuildRecord, Built
from arena_py.cli.app import main as arena
from arena_py.results import store
from arena_py.results.difference import difference
from arena_py.results.document import Cell, Run

HOSTILE = Path(__file__).resolve().parents[1] / "tests" / "contract" / "hostile.py"
GOOD = ["pytorch:eager", "onnxruntime:cpu", "mlx:cpu", "candle:cpu", "burn:flex"]
PLACES = {
    "luminal:cpu": "memory@run",
    "jax:cpu": "secret-daemon@run",
    "llama-cpp:cpu": "line-flood@run",
    "meganeura:vulkan": "nan-values",
}
"""What each hostile one does, by the label that it takes."""
MEMORY = "4GiB"
"""A runner may take so much: filling nine tenths of a machine, once a case, is most of a run's time otherwise."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=[], help="only these of the suite")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = measured(Path(folder, "alone"), GOOD, chosen.model)
        located = build.locate
        build.locate = lambda framework, variant: (
            hostile(PLACES[label])
            if (label := f"{framework.name}:{variant.name}") in PLACES
            else located(framework, variant)
        )
        after = measured(Path(folder, "beside"), [*GOOD, *PLACES], chosen.model)
    return told(before, after)


def hostile(behaviour: str) -> Built:
    """A runner that is started as a built one would be."""
    record = BuildRecord(
        schema=1, framework="hostile", version="1.0", features=[], compiler="none", executable_sha256=None
    )
    return Built([sys.executable, str(HOSTILE), behaviour], record)


def measured(folder: Path, labels: list[str], models: list[str]) -> Run:
    """A run of the suite."""
    words = ["compare", "--suite", "quick", "--no-build", "--output", str(folder), "--format", "csv"]
    words += ["--limit", f"memory_bytes={MEMORY}"]
    arena([*words, "--framework", *labels, *(["--model", *models] if models else [])])
    return store.load(folder)


def told(before: Run, after: Run) -> int:
    """Print what is to be known; the exit status."""
    old = {(cell.case, cell.label): shown(cell) for cell in before.cells}
    new = {(cell.case, cell.label): shown(cell) for cell in after.cells if cell.label in GOOD}
    changed = [key for key in old if old[key] != new.get(key)]
    bad = Counter((cell.label, cell.status) for cell in after.cells if cell.label in PLACES)
    rows = [[label, PLACES[label], status, count] for (label, status), count in sorted(bad.items())]
    print(tabulate(rows, ["place", "behaviour", "status", "cells"], tablefmt="github"))
    means = difference(before, after).overall
    rows = [[each.label, each.cases, each.ratio.value, each.ratio.low, each.ratio.high] for each in means]
    names = ["runner", "cases", "time beside / alone", "from", "to"]
    print("\n" + tabulate(rows, names, tablefmt="github", floatfmt=".3f"))
    print(f"\n{len(old)} good cells, {len(changed)} with another status or error: {changed}")
    passed = sum(count for (_, status), count in bad.items() if status == "passed")
    print(f"{sum(bad.values())} hostile cells, {passed} of them passed")
    return int(bool(changed) or passed > 0)


def shown(cell: Cell) -> tuple[str, str | None, float | None]:
    """What of a cell does not depend on the machine's mood."""
    error = max((tensor.error for tensor in cell.verification.tensors), default=None) if cell.verification else None
    return cell.status, cell.reason, error


if __name__ == "__main__":
    sys.exit(main())
