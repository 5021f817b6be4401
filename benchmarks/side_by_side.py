"""Arena's rows beside the frameworks called directly, and beside each other, in alternating blocks of one run.

    python benchmarks/side_by_side.py [--case smollm2-135m/infer/b1s128] [--rounds 8] [--iterations 5]

Every round gives each contender one block, in an order shuffled anew; a block is one `run` of a runner that stays
alive, or one start of a direct program (its own first execution does not count). Ratios are of block medians, paired
within rounds, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from arena_py import places
from arena_py.build import Built, locate, python_of
from arena_py.contract.session import Session, runner_environment
from arena_py.manifest import Case, frameworks, model
from arena_py.manifest.framework import parse
from arena_py.measure.machine import physical_cores
from arena_py.verify import cases
from arena_py.verify.canon import Canon

BENCHMARKS = Path(__file__).resolve().parent
PAIRS = (
    ("pytorch:eager", "direct pytorch", 1.02),
    ("jax:cpu", "direct jax", 1.02),
    ("mlx:cpu", "direct mlx", 1.02),
    ("candle:cpu", "direct candle", 1.25),
    ("burn:flex", "candle:cpu", 2.0),
)
"""(contender, against, the ratio that it must not exceed) on inference."""
RESAMPLES = 10_000
Block = Callable[[int], list[int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="smollm2-135m/infer/b1s128")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=5, help="executions of one block")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--framework", action="append", help="FRAMEWORK[:VARIANT]; all that are built")
    options = parser.parse_args()
    name = options.case.partition("/")[0]
    case = next(each for each in model(name).cases if each.name == options.case)
    with Canon(options.threads) as canon:
        files = cases.prepare(case, canon, progress=lambda what: print(f"{what} ...", file=sys.stderr))
    with contextlib.ExitStack() as stack:
        blocks = _runners(options.framework or frameworks(), files, options.threads, stack)
        if case.model.name == "smollm2-135m" and case.task == "infer":
            blocks |= _direct(files, options.threads, stack) | _direct_arrays(options.threads, blocks)
        medians = _rounds(blocks, options.rounds, options.iterations)
    _table(medians)
    return _verdict(medians) if case.task == "infer" else 0


def _runners(
    selectors: list[str], files: cases.CaseFiles, threads: int, stack: contextlib.ExitStack
) -> dict[str, Block]:
    blocks: dict[str, Block] = {}
    case: Case = files.case
    for selector in selectors:
        framework, variants = parse(selector)
        for variant in variants:
            label = f"{framework.name}:{variant.name}"
            built = locate(framework, variant)
            if not isinstance(built, Built):
                print(f"{label}: not built: {built.reason}", file=sys.stderr)
                continue
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            session = stack.enter_context(
                Session(built.command, scratch=scratch, environment=variant.environment, threads=threads)
            )
            if case.contract_task not in session.description.architectures.get(case.model.file.architecture, []):
                print(f"{label}: does not declare {case.contract_task}", file=sys.stderr)
                continue
            exercise = files.exercise(variant.backend, variant.precision)
            exercise.load(session)
            exercise.prepare(session)
            blocks[label] = lambda count, session=session, variant=variant: (
                session.run(count, variant.boundary).samples_ns
            )
    return blocks


def _direct(files: cases.CaseFiles, threads: int, stack: contextlib.ExitStack) -> dict[str, Block]:
    """The direct programs; Candle's is compiled first."""
    target = (
        places.cargo_target("direct_candle") if os.environ.get("ARENA_CACHE") else BENCHMARKS / "direct_candle/target"
    )
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "-q", "--target-dir", str(target)],
        cwd=BENCHMARKS / "direct_candle",
        check=True,
    )
    python = [str(python_of("pytorch")), str(BENCHMARKS / "direct_pytorch.py")]
    config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "config.json"
    config.write_text(json.dumps(files.case.model.file.config))
    candle = [str(target / "release" / "direct-candle"), str(config), str(files.weights), str(files.inputs)]
    return {
        "direct pytorch": lambda count: _run([*python, "--threads", str(threads), "--iterations", str(count)], threads),
        "direct candle": lambda count: _run([*candle, str(count)], threads),
    }


def _direct_arrays(threads: int, runners: Iterable[str]) -> dict[str, Block]:
    """The direct programs of the frameworks of arrays whose runners take part."""
    blocks: dict[str, Block] = {}
    for name, options in (("jax", ["--threads", str(threads)]), ("mlx", [])):
        if f"{name}:cpu" in runners:
            command = [str(python_of(name)), str(BENCHMARKS / f"direct_{name}.py"), *options]
            blocks[f"direct {name}"] = lambda count, command=command: _run(
                [*command, "--iterations", str(count)], threads
            )
    return blocks


def _run(command: list[str], threads: int) -> list[int]:
    done = subprocess.run(
        command,
        capture_output=True,
        check=True,
        text=True,
        env=runner_environment(threads, {}),
    )
    return json.loads(done.stdout)["samples_ns"]


def _rounds(blocks: dict[str, Block], rounds: int, iterations: int) -> dict[str, list[float]]:
    shuffler = np.random.default_rng(0)
    medians: dict[str, list[float]] = {label: [] for label in blocks}
    for round_ in range(rounds):
        print(f"round {round_ + 1} of {rounds}", file=sys.stderr)
        for label in shuffler.permutation(list(blocks)):
            medians[str(label)].append(statistics.median(blocks[str(label)](iterations)))
    return medians


def _table(medians: dict[str, list[float]]) -> None:
    for label, values in sorted(medians.items(), key=lambda item: statistics.median(item[1])):
        milliseconds = [value / 1e6 for value in values]
        middle = statistics.median(milliseconds)
        print(f"{label:<20} median {middle:10.2f} ms   of rounds {min(milliseconds):10.2f} .. {max(milliseconds):.2f}")


def _verdict(medians: dict[str, list[float]]) -> int:
    missed = 0
    for ours, against, limit in PAIRS:
        if ours not in medians or against not in medians:
            continue
        ratios = np.asarray(medians[ours]) / np.asarray(medians[against])
        draws = np.random.default_rng(1).choice(ratios, (RESAMPLES, len(ratios)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        middle = float(np.median(ratios))
        missed += middle > limit
        held = "held" if middle <= limit else "MISSED"
        print(f"{ours} / {against}: {middle:.3f} [{low:.3f}, {high:.3f}], bar {limit:g}: {held}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
