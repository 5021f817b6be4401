"""Every hostile behaviour beside a good runner: its verdict, when it came, and what was left of it.

    python benchmarks/hostile.py [BEHAVIOUR...]

Ends with 1 when a verdict is not the right one, a process or a file is left, or the good runner suffered.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "contract"))
from trial import BEHAVIOURS, attempt

MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("behaviour", nargs="*", help="all when absent")
    names = parser.parse_args().behaviour
    if unknown := set(names) - {each.name for each in BEHAVIOURS}:
        parser.error(f"no such behaviour: {', '.join(sorted(unknown))}")
    chosen = [each for each in BEHAVIOURS if not names or each.name in names]
    rows, bad = [], 0
    for behaviour in chosen:
        with tempfile.TemporaryDirectory() as folder:
            outcome = attempt(behaviour, Path(folder))
        right = (outcome.status, outcome.good_status) == (behaviour.status, "passed")
        clean = (outcome.processes_left, outcome.files_left) == (0, 0)
        bad += not (right and clean and behaviour.words in outcome.reason)
        left = [outcome.processes_left, outcome.files_left, round(outcome.growth_bytes / MIB)]
        rows.append(
            [behaviour.name, outcome.status, f"{outcome.seconds:.1f}", *left, outcome.good_status, outcome.reason[:60]]
        )
    columns = ["behaviour", "status", "s", "processes", "files", "driver MiB", "the other", "reason"]
    print(tabulate(rows, columns, tablefmt="github", disable_numparse=True))
    print(f"\n{len(rows)} behaviours, {bad} not as they must be")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
