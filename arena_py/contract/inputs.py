"""The inputs file on the runner's side: tensors by name, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """Type (safetensors' word: `F32`, `I64`) and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def _open(path: Path) -> Any:  # the package has no types
    return safe_open(path, framework="numpy")


class InputFile(Mapping[str, "np.ndarray[Any, Any]"]):
    """A safetensors file as a mapping that remembers which tensors were read.

    A task reads exactly the inputs that it names, so what was read while it was prepared is what a later `bind` must
    bring again; every other tensor of either file is ignored, as the contract asks.

    Raises:
        RunnerError: `invalid_inputs` when the file is not a readable safetensors file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = _open(path)
            self._specs = {name: self._spec(name) for name in self._file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError) as error:
            raise RunnerError("invalid_inputs", f"inputs file {path} cannot be read: {error}") from error
        self.read: dict[str, TensorSpec] = {}

    def _spec(self, name: str) -> TensorSpec:
        stored = self._file.get_slice(name)
        return TensorSpec(stored.get_dtype(), tuple(stored.get_shape()))

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        spec = self._specs[name]
        try:
            values: np.ndarray[Any, Any] = self._file.get_tensor(name)
        except (SafetensorError, TypeError, AttributeError, KeyError) as error:
            raise RunnerError("invalid_inputs", f"input `{name}` is {spec}, which cannot be read: {error}") from error
        self.read[name] = spec
        return values

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def require_like(self, prepared: InputFile) -> None:
        """Check that everything that `prepared` was asked for is here with the same type and shape.

        Raises:
            RunnerError: `invalid_inputs`, naming the first tensor that differs.
        """
        for name, expected in prepared.read.items():
            found = self._specs.get(name)
            if found is None:
                raise RunnerError("invalid_inputs", f"input `{name}` is missing")
            if found != expected:
                raise RunnerError("invalid_inputs", f"input `{name}` is {found}, prepared as {expected}")
