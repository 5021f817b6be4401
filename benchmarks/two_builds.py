"""Whether a build is slower than another one of the same runner: two executables in turns.

    python benchmarks/two_builds.py ONE OTHER [--framework candle] [--case smollm2-135m/infer/b1s128]... [--rounds 20]

Both stay alive, one of them executes at a time, and who begins alternates. For each case the medians and how many times
longer OTHER takes, with a 95 % interval over the rounds of all launches: what flags of the compiler cost.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from arena_py.contract.conditions import SETTLED_S
from arena_py.contract.session import RunnerFailed, Session
from arena_py.errors import ArenaError
from arena_py.manifest import case
from arena_py.manifest.framework import parse
from arena_py.measure.machine import physical_cores
from arena_py.measure.statistics import ratio_interval
from arena_py.report import text
from arena_py.verify import cases
from arena_py.verify.canon import Canon
from arena_py.verify.exercise import Exercise

CASES = ("smollm2-135m/infer/b1s128", "smollm2-135m/latency/b1s1", "smollm2-135m/train/b1s128")
SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--framework", default="candle", help="FRAMEWORK or FRAMEWORK:VARIANT")
    parser.add_argument("--case", action="append", help=f"{', '.join(CASES)} when absent")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20, help="of each launch")
    parser.add_argument("--threads", type=int, default=physical_cores())
    options = parser.parse_args()
    _, (variant, *_) = parse(options.framework)
    commands = [[str(path.absolute())] for path in (options.one, options.other)]
    for name in options.case or CASES:
        with Canon(options.threads) as canon:
            files = cases.prepare(case(name), canon, progress=lambda what: print(f"{what} ...", file=sys.stderr))
        exercise = files.exercise(variant.backend, variant.precision)
        taken: list[list[float]] = [[], []]
        launches: list[int] = []
        for launch in range(options.launches):
            for first, second in in_turns(commands, exercise, variant.environment, options):
                taken[0].append(first)
                taken[1].append(second)
                launches.append(launch)
            print(f"{name}: launch {launch + 1} of {options.launches}", file=sys.stderr, flush=True)
        one, other = taken
        ratio = ratio_interval(
            [[ns] for ns in other],
            [[ns] for ns in one],
            pairs=list(zip(other, one, strict=True)),
            seed=SEED,
            launches=launches,
        )
        medians = [text.duration(statistics.median(each)) for each in taken]
        quotient = statistics.median(other) / statistics.median(one)
        print(
            f"{name}: {medians[0]} and {medians[1]}, the medians' ratio {quotient:.3f}, "
            f"in pairs {ratio.value:.3f} x [{ratio.low:.3f}, {ratio.high:.3f}]",
            flush=True,
        )
    return 0


def in_turns(
    commands: list[list[str]], exercise: Exercise, environment: dict[str, str], options: argparse.Namespace
) -> list[tuple[float, float]]:
    """Nanoseconds of one execution of each, round by round, after both have executed once."""
    with ExitStack() as stack:
        sessions = []
        for command in commands:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sessions.append(
                stack.enter_context(Session(command, scratch=folder, environment=environment, threads=options.threads))
            )
        for session in sessions:
            exercise.load(session)
            exercise.prepare(session)
            session.run(1, exercise.boundary)
        found = []
        for number in range(options.rounds):
            taken = [0.0, 0.0]
            for which in (0, 1) if number % 2 else (1, 0):
                taken[which] = float(sessions[which].run(1, exercise.boundary).samples_ns[0])
                time.sleep(SETTLED_S)  # Its threads sleep before the other is asked.
            found.append((taken[0], taken[1]))
        return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ArenaError, RunnerFailed) as error:
        sys.exit(f"error: {error}")
