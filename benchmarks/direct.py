"""The programs that call a framework directly, one block of executions at a time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from arena_py import places
from arena_py.build import python_of
from arena_py.contract.conditions import runner_environment
from arena_py.verify.cases import CaseFiles

BENCHMARKS = Path(__file__).resolve().parent
SIZES = {"batch": 1, "seq": 128}
"""Of the case that every program knows by itself."""
Block = Callable[[int], list[int]]
"""So many executions: nanoseconds of each."""


def direct(
    files: CaseFiles, graphs: Path, threads: int, runners: Iterable[str], stack: contextlib.ExitStack
) -> dict[str, Block]:
    """The direct program of each framework whose runner takes part, on SmolLM2's inference.

    Args:
        files: of the case; its runners have prepared it.
        graphs: the folder of the graph that ONNX Runtime's runner exported for it, and of no other.
        threads: of each program.
        runners: labels.
        stack: holds temporary files.
    """
    sizes = files.case.shape.sizes
    shape = ["--batch", str(sizes["batch"]), "--seq", str(sizes["seq"])]
    known: dict[str, Callable[[], list[str]]] = {
        "pytorch": lambda: [*_python("pytorch", threads), *shape],
        "pytorch:cuda": lambda: [*_python("pytorch", threads), *shape, "--device", "cuda"],
        "jax": lambda: _python("jax", threads),
        "mlx": lambda: _python("mlx", None),
        "llama-cpp": lambda: _python("llama-cpp", threads),
        "onnxruntime": lambda: [*_python("onnxruntime", threads), *_graph(files, graphs)],
        "candle": lambda: _candle(files, stack),
    }
    if sizes != SIZES:
        known = {name: command for name, command in known.items() if name.startswith("pytorch")}
    names = dict.fromkeys(label if label in known else label.partition(":")[0] for label in runners)
    return {f"direct {name}": _block(known[name](), threads) for name in names if name in known}


def _block(command: list[str], threads: int) -> Block:
    counted = ["--iterations"] if Path(command[0]).name.startswith("python") else []
    return lambda count: _run([*command, *counted, str(count)], threads)


def _python(framework: str, threads: int | None) -> list[str]:
    script = BENCHMARKS / f"direct_{framework.replace('-', '_')}.py"
    return [str(python_of(framework)), str(script), *([] if threads is None else ["--threads", str(threads)])]


def _graph(files: CaseFiles, graphs: Path) -> list[str]:
    """The graph that the runner of ONNX Runtime executes."""
    (table,) = graphs.glob("*/graph.json")
    return [str(table.parent), str(files.weights), str(files.inputs)]


def _candle(files: CaseFiles, stack: contextlib.ExitStack) -> list[str]:
    """Compiled first."""
    own = BENCHMARKS / "direct_candle"
    target = places.cargo_target("direct_candle") if os.environ.get("ARENA_CACHE") else own / "target"
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "--target-dir", str(target)], cwd=own, check=True)
    config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "config.json"
    config.write_text(json.dumps(files.case.model.file.config))
    return [str(target / "release" / "direct-candle"), str(config), str(files.weights), str(files.inputs)]


def _run(command: list[str], threads: int) -> list[int]:
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=runner_environment(threads, {}))
    samples_ns: list[int] = json.loads(done.stdout)["samples_ns"]
    return samples_ns
