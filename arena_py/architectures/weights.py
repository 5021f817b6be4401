"""The weights file of any architecture, one tensor in memory at a time.

Each tensor is read by itself into its final memory: mapping the file would keep its pages beside what is widened or
moved to a device, and would count them in the peak.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    from arena_py.architectures.parameter import Parameter

STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""What a weights file may hold, and how numpy reads its bytes; each widens to float32 exactly."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor is in the file, and its type in safetensors' words."""

    name: str
    dtype: str
    offset: int


class WeightsFile:
    """An open weights file whose header fits the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        size = int.from_bytes(file.read(8), "little")
        self._header: dict[str, Any] = json.loads(file.read(size))
        self._data = 8 + size

    def find(self, name: str, shape: tuple[int, ...]) -> Stored:
        """Where the tensor of that name is.

        Raises:
            RunnerError: `invalid_weights` when it is missing, or of the wrong shape or type.
        """
        entry = self._header.get(name)
        if entry is None:
            raise RunnerError("invalid_weights", f"tensor `{name}` is missing")
        if entry["shape"] != list(shape):
            raise RunnerError("invalid_weights", f"tensor `{name}` has shape {entry['shape']}, expected {list(shape)}")
        if entry["dtype"] not in STORED:
            raise RunnerError("invalid_weights", f"tensor `{name}` is {entry['dtype']}, expected {', '.join(STORED)}")
        return Stored(name, entry["dtype"], self._data + entry["data_offsets"][0])

    def fill(self, stored: Stored, memory: memoryview) -> None:
        """Read the tensor's bytes into `memory`, which has room for exactly them.

        Raises:
            RunnerError: `invalid_weights` when the file ends before.
        """
        self._file.seek(stored.offset)
        while memory:
            count = self._file.readinto(memory)  # type: ignore[attr-defined]  # a raw file may fill less
            if not count:
                raise RunnerError("invalid_weights", f"tensor `{stored.name}` is cut off by the end of the file")
            memory = memory[count:]


@contextmanager
def opened(path: Path) -> Iterator[WeightsFile]:
    """The file while it is read.

    Raises:
        RunnerError: `invalid_weights` when it is unreadable.
    """
    try:
        with safe_open(path, framework="numpy"):  # checks the header against the file
            pass
        with path.open("rb", buffering=0) as file:
            yield WeightsFile(file)
    except (OSError, SafetensorError) as error:
        raise RunnerError("invalid_weights", f"weights file {path} cannot be read: {error}") from error


def read(path: Path, parameters: Iterable[Parameter]) -> Iterator[tuple[Parameter, np.ndarray[Any, Any]]]:
    """Every parameter with its values in float32; whatever else the file holds is ignored.

    Raises:
        RunnerError: `invalid_weights` when the file is unreadable, or a tensor is missing, of the wrong shape or type,
            or has a value that is not finite; the message names it.
    """
    with opened(path) as file:
        for parameter in parameters:
            stored = file.find(parameter.name, parameter.shape)
            raw = np.empty(parameter.shape, STORED[stored.dtype])
            file.fill(stored, raw.reshape(-1).view(np.uint8).data)
            values = _widened(raw)
            if values.size:
                require_finite(parameter.name, float(values.min()), float(values.max()))
            yield parameter, values


def require_finite(name: str, low: float, high: float) -> None:
    """Check a tensor by its least and its greatest value: either is NaN when any value is.

    Raises:
        RunnerError: `invalid_weights`.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RunnerError("invalid_weights", f"tensor `{name}` has a value that is not finite")


def _widened(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if raw.dtype == STORED["BF16"]:  # the upper half of a float32
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw.astype(np.float32, copy=False)
