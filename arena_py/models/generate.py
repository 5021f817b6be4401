"""Seeded weights and inputs from the command line, run by the driver in PyTorch's environment.

    generate.py weights SPEC.json OUT.safetensors
    generate.py inputs SPEC.json OUT.safetensors...
    generate.py names SPEC.json
    generate.py serve

`SPEC.json` is `{"architecture": ..., "config": {...}, "shapes": {...}, "seed": N}`; `names` prints the shape of every
stored tensor and the number of parameters. `inputs` takes several files: the second is drawn from the next seed, and so
on, since starting torch takes longer than drawing. For the same reason `serve` reads such arguments as a JSON array a
line, and answers each with `ok` or `error: ...` on a line. Exit 2 and one line `error: ...` when a specification is
wrong.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from arena_py.models.architecture import Architecture

PACKAGE = Path(__file__).resolve().parents[1]
VERBS = {"weights": range(2, 3), "inputs": range(2, 100), "names": range(1, 2)}
"""Each verb and how many paths it takes."""


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    if arguments == ["serve"]:
        return _serve()
    if problem := _perform(arguments):
        sys.stderr.write(f"error: {problem}\n")
        return 2
    return 0


def _serve() -> int:
    """Do as each line says, until there are no more; libraries that print do so on standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        problem = _perform(json.loads(line))
        answers.write(f"error: {' '.join(problem.split())}\n" if problem else "ok\n")
        answers.flush()
    return 0


def _perform(arguments: list[str]) -> str | None:
    """Do it; what is wrong with the specification."""
    import msgspec  # noqa: PLC0415 (after the bootstrap)

    from arena_py.contract.adapter import RunnerError  # noqa: PLC0415 (as above)

    verb, *paths = arguments or [""]
    if len(paths) not in VERBS.get(verb, ()):
        return "expected weights SPEC OUT, inputs SPEC OUT..., names SPEC or serve"
    try:
        spec = _read(Path(paths[0]))
        if verb == "names":
            sys.stdout.write(msgspec.json.encode(_names(spec)).decode() + "\n")
        elif verb == "weights":
            _write_weights(spec, Path(paths[1]))
        else:
            _write_inputs(spec, [Path(path) for path in paths[1:]])
    except RunnerError as error:
        return error.message
    except (msgspec.MsgspecError, OSError) as error:
        return str(error)
    return None


def _read(path: Path) -> Any:
    import msgspec  # noqa: PLC0415 (after the bootstrap)

    class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        architecture: str
        config: dict[str, Any]
        shapes: dict[str, int] = {}
        seed: int = 0

    return msgspec.json.decode(path.read_bytes(), type=Spec)


def _module(spec: Any) -> tuple[Architecture, torch.nn.Module]:
    """The architecture, and its module without memory."""
    import torch  # noqa: PLC0415 (seconds)

    from arena_py.models import define  # noqa: PLC0415 (after the bootstrap)

    architecture = define(spec.architecture, spec.config)
    with torch.device("meta"):
        return architecture, architecture.build()


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    from arena_py.models.checkpoint import stored_tensors  # noqa: PLC0415 (after the bootstrap)

    return {name: tuple(tensor.shape) for name, tensor in stored_tensors(module)}


def _names(spec: Any) -> dict[str, Any]:
    architecture, module = _module(spec)
    return {
        "tensors": _shapes(module),
        "frozen": sorted(architecture.frozen),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
    }


def _write_weights(spec: Any, path: Path) -> None:
    from arena_py.contract.writer import write_tensors  # noqa: PLC0415 (after the bootstrap)
    from arena_py.models import seeded  # noqa: PLC0415 (as above)

    architecture, module = _module(spec)
    write_tensors(
        path,
        [
            (name, partial(seeded.weights, spec.seed, name, shape, architecture.distribution(name, shape)))
            for name, shape in _shapes(module).items()
        ],
    )


def _write_inputs(spec: Any, paths: list[Path]) -> None:
    from arena_py.contract.writer import write_tensors  # noqa: PLC0415 (after the bootstrap)
    from arena_py.models import define, seeded  # noqa: PLC0415 (as above)

    architecture = define(spec.architecture, spec.config)
    sizes = architecture.sizes(spec.shapes)
    for seed, path in enumerate(paths, start=spec.seed):
        write_tensors(path, [(each.name, partial(seeded.inputs, seed, each, sizes)) for each in architecture.inputs])


if __name__ == "__main__":
    run_path(str(PACKAGE / "worker.py"))["bootstrap"]()
    sys.exit(main(sys.argv[1:]))
