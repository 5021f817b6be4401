"""Arena's rows beside the frameworks called directly, and beside each other, in alternating blocks of one run.

    python benchmarks/side_by_side.py [--case smollm2-135m/infer/b1s128]... [--rounds 8] [--iterations 5]
        [--framework pytorch:cuda]... [--python-env current] [--size batch=8 --size seq=512]

Without a case: the inference and the training of each model of the suite `standard`. Every round gives each contender
one block, in an order shuffled anew; a block is one `run` of a runner that stays alive, or a start of a direct program
(its own first execution does not count). `--size` makes the inputs larger: a GPU that waits for what is launched is too
unsteady for a bar of 2 %. Of the direct programs only PyTorch's takes it. Ratios are of block medians, paired within
rounds, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from direct import Block, direct

from arena_py import manifest
from arena_py.build import Built, locate
from arena_py.build.current import using
from arena_py.contract.session import Session
from arena_py.errors import ArenaError
from arena_py.frameworks.onnx.graphs import CACHE_VARIABLE
from arena_py.manifest import Case, frameworks, model, suite
from arena_py.manifest.framework import parse
from arena_py.measure import sweep
from arena_py.measure.machine import physical_cores
from arena_py.verify import cases
from arena_py.verify.canon import Canon

BARS = {
    "infer": (
        ("pytorch:eager", "direct pytorch", 1.02),
        ("pytorch:cuda", "direct pytorch:cuda", 1.02),
        ("candle:cpu", "direct candle", 1.25),
        ("jax:cpu", "direct jax", 1.02),
        ("llama-cpp:cpu", "direct llama-cpp", 1.02),
        ("mlx:cpu", "direct mlx", 1.02),
        ("onnxruntime:cpu", "direct onnxruntime", 1.02),
        ("candle:cpu", "pytorch:eager", 2.0),
        ("burn:flex", "pytorch:eager", 2.0),
        ("burn:flex", "candle:cpu", 2.0),
    ),
    "train": (("candle:cpu", "pytorch:eager", 3.0), ("burn:flex", "pytorch:eager", 3.0)),
}
"""For each task: contender, against, the ratio that it must not exceed."""
RESAMPLES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="MODEL/TASK/SHAPE")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=5, help="executions of one block")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--framework", action="append", help="FRAMEWORK[:VARIANT]; all that are built")
    parser.add_argument("--python-env", choices=["own", "current"], default="own", help="as of `compare`")
    parser.add_argument("--size", action="append", help="SIZE=NUMBER in place of the case's own")
    options = parser.parse_args()
    try:
        with using(options.python_env):
            return _side_by_side(options)
    except ArenaError as error:
        parser.error(error.advised)


def _side_by_side(options: argparse.Namespace) -> int:
    missed = 0
    for chosen in [manifest.case(name) for name in options.case or _standard()]:
        (case,) = sweep.swept([chosen], sweep.parse(options.size)) if options.size else (chosen,)
        with Canon(options.threads) as canon:
            files = cases.prepare(case, canon, progress=lambda what: print(f"{what} ...", file=sys.stderr))
        with contextlib.ExitStack() as stack:
            selectors = options.framework or frameworks()
            if case.model.name == "smollm2-135m" and case.task == "infer":
                # Exported anew, so that it is known which graph the runner executes.
                graphs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                blocks = _runners(selectors, files, options.threads, stack, {CACHE_VARIABLE: str(graphs)})
                blocks |= direct(files, graphs, options.threads, list(blocks), stack)
            else:
                blocks = _runners(selectors, files, options.threads, stack, {})
            medians = _rounds(blocks, options.rounds, options.iterations)
        print(f"\n{case.name}")
        _table(medians)
        missed += _verdict(medians, case.task)
    return 1 if missed else 0


def _standard() -> list[str]:
    """The inference and the training of each model of the suite."""
    return [case.name for name in suite("standard").models for case in model(name).cases if case.task in BARS]


def _runners(
    selectors: list[str],
    files: cases.CaseFiles,
    threads: int,
    stack: contextlib.ExitStack,
    environment: dict[str, str],
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
                Session(
                    built.command, scratch=scratch, environment={**variant.environment, **environment}, threads=threads
                )
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


def _verdict(medians: dict[str, list[float]], task: str) -> int:
    """Print each ratio beside its bar; how many missed it."""
    missed = 0
    for ours, against, limit in BARS.get(task, ()):
        if ours not in medians or against not in medians:
            continue
        ratios = np.asarray(medians[ours]) / np.asarray(medians[against])
        draws = np.random.default_rng(1).choice(ratios, (RESAMPLES, len(ratios)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        middle = float(np.median(ratios))
        missed += middle > limit
        held = "held" if middle <= limit else "MISSED"
        print(f"{ours} / {against}: {middle:.3f} [{low:.3f}, {high:.3f}], bar {limit:g}: {held}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
