"""Asks PyTorch's environment for what needs the canonical model: seeded weights, inputs, parameter names.

The driver imports no ML framework; `models/generate.py` runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from arena_py import places
from arena_py.build import python_of
from arena_py.errors import ArenaError

SCRIPT = places.PACKAGE / "models" / "generate.py"


class Spec(msgspec.Struct, frozen=True):
    """What to generate for."""

    architecture: str
    config: dict[str, Any]
    shapes: dict[str, int]
    seed: int


@cache
def source_hash() -> str:
    """A hash over the sources that weights, inputs and the reference depend on."""
    digest = hashlib.sha256()
    canonical = [places.PACKAGE / "frameworks" / f"{name}.py" for name in ("pytorch", "reference", "torch_programs")]
    folders = [places.PACKAGE / name for name in ("architectures", "models")]
    for path in [*(path for folder in folders for path in sorted(folder.glob("*.py"))), *canonical]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def weights(spec: Spec, output: Path) -> None:
    """Write seeded weights."""
    _run("weights", spec, output)


def inputs(spec: Spec, *outputs: Path) -> None:
    """Write seeded inputs, those of `train` included; each file from the next seed."""
    _run("inputs", spec, *outputs)


def _run(what: str, spec: Spec, *outputs: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        request = Path(scratch) / "spec.json"
        request.write_bytes(msgspec.json.encode(spec))
        done = subprocess.run(
            [str(python_of("pytorch")), str(SCRIPT), what, str(request), *map(str, outputs)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise ArenaError(
            f"{what} of {spec.architecture} cannot be made: {words[-1].removeprefix('error: ') if words else 'killed'}",
            hint="check the model's manifest; `python -m arena_py build pytorch` rebuilds the environment",
        )
