"""How long the driver takes to start: each of its first words against an interpreter that does nothing.

    python benchmarks/driver_start.py [--launches 30]

All are started in turns. Medians with 95 % intervals, and what is the driver's own: the difference to the interpreter.
`list` is more than a start: it hashes every executable that is built and asks rustc for its version in each crate's
folder. Ends with 1 when anything else takes 0.2 s or more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from arena_py.measure.statistics import median_interval
from arena_py.report import text

LIMIT_NS = 0.2e9
BARE = ("-c", "pass")
WORDS = {
    "python -c pass": BARE,
    "--help": ("-m", "arena_py", "--help"),
    "--version": ("-m", "arena_py", "--version"),
    "list": ("-m", "arena_py", "list"),
    "audit --help": ("-m", "arena_py", "audit", "--help"),
}
LIMITED = ("--help", "--version", "audit --help")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=30)
    options = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in WORDS}
    for _ in range(options.launches + 1):
        for name, words in WORDS.items():
            before_ns = time.perf_counter_ns()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            samples[name].append(time.perf_counter_ns() - before_ns)
    late = 0
    bare_ns = 0.0
    for name, taken in samples.items():
        # The first of each compiles and fills caches.
        found = median_interval([[value] for value in taken[1:]], seed=0)
        bare_ns = bare_ns or found.value
        print(f"{name:<16} {text.measured(found):>18}, {text.duration(max(0.0, found.value - bare_ns))} of the driver")
        late += name in LIMITED and found.value >= LIMIT_NS
    return int(late > 0)


if __name__ == "__main__":
    sys.exit(main())
