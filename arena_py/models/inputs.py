"""The inputs of an architecture as a table: names, types, shapes and values, to check a file by and to make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import TaskName


@dataclass(frozen=True)
class Ids:
    """Integers in `0..high`, i64."""

    high: int


@dataclass(frozen=True)
class Normal:
    """Real values of mean 0 and variance 1, f32."""


@dataclass(frozen=True)
class Uniform:
    """Real values in `low..high`, f32; whole numbers on demand, as a diffusion model's time steps are."""

    low: float
    high: float
    whole: bool = False


Values: TypeAlias = Ids | Normal | Uniform


@dataclass(frozen=True)
class InputSpec:
    """One input: a dimension is a number, or the name of a size that all inputs share."""

    name: str
    shape: tuple[int | str, ...]
    values: Values
    training: bool = False
    """Read by `train` and `step` only."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type in the file."""
        return np.dtype(np.int64 if isinstance(self.values, Ids) else np.float32)


def named(specs: Sequence[InputSpec], task: TaskName) -> list[InputSpec]:
    """The inputs that a task names."""
    return [spec for spec in specs if task in ("train", "step") or not spec.training]


def take(specs: Sequence[InputSpec], inputs: Tensors, task: TaskName) -> tuple[dict[str, Any], dict[str, int]]:
    """The arrays that a task names, checked, and the sizes that they share.

    Raises:
        RunnerError: `invalid_inputs`, naming the tensor that is missing, of the wrong type or shape, or whose ids are
            out of range.
    """
    taken: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for spec in named(specs, task):
        if spec.name not in inputs:
            raise RunnerError("invalid_inputs", f"input `{spec.name}` is missing")
        values = inputs[spec.name]
        if values.dtype != spec.dtype:
            raise RunnerError("invalid_inputs", f"input `{spec.name}` is {values.dtype}, expected {spec.dtype}")
        _match(spec, values.shape, sizes)
        if isinstance(spec.values, Ids):
            _within(spec.name, values, spec.values.high)
        taken[spec.name] = values
    return taken, sizes


def _match(spec: InputSpec, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """Compare a shape with the specification, and learn the sizes that it is the first to show."""
    expected = [sizes.get(size, size) if isinstance(size, str) else size for size in spec.shape]
    fits = len(shape) == len(expected) and all(
        found == wanted if isinstance(wanted, int) else found >= 1
        for found, wanted in zip(shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in expected)
        raise RunnerError("invalid_inputs", f"input `{spec.name}` has shape {list(shape)}, expected [{wanted}]")
    for size, found in zip(spec.shape, shape, strict=True):
        if isinstance(size, str):
            sizes[size] = found


def _within(name: str, ids: np.ndarray[Any, Any], high: int) -> None:
    outside = (ids < 0) | (ids >= high)
    if outside.any():
        at = int(np.argmax(outside.ravel()))
        raise RunnerError("invalid_inputs", f"input `{name}`: id {ids.ravel()[at]} at {at} is outside 0..{high}")


def default_sizes(architecture: str, given: Mapping[str, int], defaults: Mapping[str, int | None]) -> dict[str, int]:
    """The sizes of a case; a default of None means that the case must name it.

    Raises:
        RunnerError: `invalid_inputs` for a size that is missing, unknown or not positive.
    """
    if unknown := sorted(set(given) - set(defaults)):
        known = ", ".join(defaults)
        raise RunnerError("invalid_inputs", f"{architecture}: unknown size `{unknown[0]}`, only {known}")
    sizes = {}
    for name, default in defaults.items():
        size = given.get(name, default)
        if size is None:
            raise RunnerError("invalid_inputs", f"{architecture}: size `{name}` is missing")
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise RunnerError("invalid_inputs", f"{architecture}: size `{name}` = {size!r} is not a positive integer")
        sizes[name] = size
    return sizes
