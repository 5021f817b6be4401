"""Golden cases: small models with float64 outputs and gradients, made once with the canonical libraries.

A case is a folder of `config.json`, `weights.safetensors`, `inputs.safetensors` and `expected.safetensors`; what is in
each is said in `tests/golden/README.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arena_py import places
from arena_py.contract.messages import ModelSpec, Precision, TaskName, TaskOptions
from arena_py.contract.tensors import TensorFile, TensorFileError, write_tensors
from arena_py.errors import ArenaError
from arena_py.verify.exercise import Exercise
from arena_py.verify.norms import group_of
from arena_py.verify.updates import UNIT_ROUNDOFF

FILES = ("weights", "inputs", "expected")
STORED: dict[Precision, float] = {"bf16": 2.0**-8}
"""The unit roundoff of what a parameter is stored in, where that is not float32 (TF32 is inside products only)."""


class _Config(msgspec.Struct, frozen=True):
    architecture: str
    config: dict[str, Any]
    float32_noise: dict[str, float]


class GoldenCase(msgspec.Struct, frozen=True):
    """One folder."""

    folder: Path
    model: ModelSpec
    own_noise: dict[str, float]
    """PyTorch's error on this case: `max` of any tensor, and the main output's by its name."""
    tensors: list[str]
    """The names in `expected.safetensors`."""
    precision: Precision = "f32"
    """What `own_noise` is of."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """Parameters, f32."""
        return self.folder / "weights.safetensors"

    @property
    def inputs(self) -> Path:
        """The inputs of `train`, a superset of those of `infer`."""
        return self.folder / "inputs.safetensors"

    @property
    def expected(self) -> Path:
        """Outputs, loss and gradients, f64."""
        return self.folder / "expected.safetensors"

    def names(self, task: TaskName) -> list[str]:
        """The tensors that `infer` or `train` must output."""
        wanted = {"infer": ("outputs",), "train": ("loss", "gradients")}[task]
        return [name for name in self.tensors if group_of(name) in wanted]

    def noise(self) -> dict[str, float]:
        """PyTorch's error on this case, by group; the main output's own where the case has it."""
        worst = self.own_noise["max"]
        own = [error for name, error in self.own_noise.items() if name != "max"]
        return {"outputs": max(own, default=worst), "loss": worst, "gradients": worst, "parameters": worst}

    def exercise(self, task: TaskName, options: TaskOptions, first_inputs: Path) -> Exercise:
        """A task on the case: prepared on other inputs, then on the case's own."""
        return Exercise(
            model=self.model,
            weights=self.weights,
            task=task,
            options=options,
            inputs=first_inputs,
            later_inputs=[self.inputs],
        )

    @property
    def roundoff(self) -> float:
        """How far a parameter is rounded where it is stored in the precision."""
        return STORED.get(self.precision, UNIT_ROUNDOFF)


def default_folder() -> Path:
    """The golden cases that come with Arena."""
    checkout = places.home() / "tests" / "golden"
    return checkout if checkout.is_dir() else places.home() / "golden"


def cases(folder: Path) -> list[GoldenCase]:
    """Every case below `folder`, sorted by name; `folder` may be a case itself.

    Raises:
        ArenaError: there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise ArenaError(f"no such folder of golden cases: {folder}")
    # Absolute: a runner works in a folder of its own.
    whole = folder.absolute()
    found = sorted(path.parent for path in [*whole.glob("config.json"), *whole.glob("*/config.json")])
    if not found:
        raise ArenaError(f"{folder}: holds no golden case", hint="a case is a folder with a config.json")
    return [_read(path) for path in found]


def _read(folder: Path) -> GoldenCase:
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
        for name in FILES:
            with TensorFile(folder / f"{name}.safetensors") as file:
                tensors = list(file.tensors)
    except (OSError, msgspec.MsgspecError, TensorFileError) as error:
        raise ArenaError(f"{folder}: not a golden case: {error}") from error
    if "max" not in config.float32_noise:
        raise ArenaError(f"{folder}: config.json has no float32_noise.max")
    return GoldenCase(folder, ModelSpec(config.architecture, config.config), config.float32_noise, tensors)


def other_inputs(path: Path, target: Path) -> Path:
    """Write inputs of the same names, types and shapes with other values: what `prepare` sees before `bind`."""
    with TensorFile(path) as file:
        arrays = {name: file.read(name) for name in file.tensors}
    changed = {
        name: np.roll(array, 1) if array.dtype.kind == "i" and len(np.unique(array)) > 1 else _moved(array)
        for name, array in arrays.items()
    }
    write_tensors(target, changed)
    return target


def _moved(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # Ids stay in range (0 exists in every vocabulary and every set of classes); reals move by half, with their sign.
    return np.zeros_like(array) if array.dtype.kind == "i" else (array * np.float32(0.5)).astype(array.dtype)
