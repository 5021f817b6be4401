"""How long `history` takes over a store of many runs: the first time, when all is read, and every later time.

    python benchmarks/history.py [RUNS]

The store is made of copies of one document under a temporary folder, each with an id and a start of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

from arena_py.results import store

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "results"))

from run_documents import around, cell, run  # noqa: E402 (of the tests)


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARENA_ARTIFACTS"] = folder
        _fill(runs)
        for what in ("first, reading all", "again", "again", "one run later"):
            if what == "one run later":
                _fill(1, first=runs)
            started = time.perf_counter()
            command = [sys.executable, "-m", "arena_py", "history", "tiny/infer"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            wall_s = time.perf_counter() - started
            print(f"{runs} runs, {what}: {wall_s:.2f} s, {cpu_s:.2f} s of a processor, starting Python included")


def _fill(count: int, first: int = 0) -> None:
    document = run(cell("candle:cpu", around(100)), cell("burn:flex", around(140)), cell("pytorch:eager", around(90)))
    for number in range(first, first + count):
        started = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        place = store.results() / f"{number:06}"
        place.mkdir(parents=True)
        (place / store.RUN).write_bytes(store.encode(replace(document, id=place.name, started=started)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    main(parser.parse_args().runs)
