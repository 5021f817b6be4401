"""What the contract adds to a sample: requests of one execution against a loop inside the runner.

    python benchmarks/contract_overhead.py [--case smollm2-135m/infer/b1s128] [--framework pytorch] [--blocks 12]

`run` with N iterations is a loop inside the runner, N requests of one iteration are the contract at its worst. Both are
taken from the same process in alternating blocks. Ends with 1 when a runner's medians differ by more than 1 % and by
more than the noise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from arena_py import manifest
from arena_py.build import Built, locate
from arena_py.contract.session import RunnerFailed, Session
from arena_py.errors import ArenaError
from arena_py.manifest import frameworks
from arena_py.manifest.framework import parse
from arena_py.measure.machine import physical_cores
from arena_py.measure.statistics import ratio_interval
from arena_py.report import text
from arena_py.results.document import Interval
from arena_py.verify import cases
from arena_py.verify.canon import Canon

LIMIT = 0.01
SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="smollm2-135m/infer/b1s128")
    parser.add_argument("--framework", action="append", help="FRAMEWORK or FRAMEWORK:VARIANT; all that are built")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=5, help="executions of one block")
    parser.add_argument("--threads", type=int, default=physical_cores())
    options = parser.parse_args()
    case = manifest.case(options.case)
    with Canon(options.threads) as canon:
        files = cases.prepare(case, canon, progress=lambda what: print(f"{what} ...", file=sys.stderr))
    worst = 0
    for selector in options.framework or frameworks():
        framework, variants = parse(selector)
        for variant in variants:
            built = locate(framework, variant)
            if not isinstance(built, Built):
                print(f"{framework.name}:{variant.name}: not built: {built.reason}")
                continue
            exercise = files.exercise(variant.backend, variant.precision)
            try:
                with (
                    tempfile.TemporaryDirectory() as scratch,
                    Session(
                        built.command, scratch=Path(scratch), environment=variant.environment, threads=options.threads
                    ) as session,
                ):
                    exercise.load(session)
                    exercise.prepare(session)
                    ratio, inside_ns = overhead(session, options.blocks, options.iterations)
            except RunnerFailed as error:
                print(f"{framework.name}:{variant.name}: {error.status}: {error.reason}")
                worst = max(worst, int(error.status in ("crashed", "timed_out")))
                continue
            print(
                f"{framework.name}:{variant.name}: {text.duration(inside_ns)} inside, through the contract "
                f"{ratio.value:.4f} x [{ratio.low:.4f}, {ratio.high:.4f}]",
                flush=True,
            )
            worst = max(worst, int(abs(ratio.value - 1) > LIMIT and not ratio.low <= 1 <= ratio.high))
    return worst


def overhead(session: Session, blocks: int, iterations: int) -> tuple[Interval, float]:
    """Samples through single requests over samples of a loop, and the loop's median in nanoseconds."""
    session.run(iterations)
    inside, through = [], []
    for block in range(blocks):
        for looped in (True, False) if block % 2 else (False, True):
            if looped:
                inside.append(session.run(iterations).samples_ns)
            else:
                through.append([session.run(1).samples_ns[0] for _ in range(iterations)])
    pairs = [(statistics.median(a), statistics.median(b)) for a, b in zip(through, inside, strict=True)]
    return ratio_interval(through, inside, pairs=pairs, seed=SEED), statistics.median(ns for b in inside for ns in b)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ArenaError as error:
        sys.exit(f"error: {error.advised}")
