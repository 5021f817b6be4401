"""Safetensors files of somebody else, read without trusting them and without holding them in memory.

The safetensors package maps whole files; the gate compares gigabytes under a memory bound that counts mapped pages,
so the few lines of the format are read here: an 8-byte little-endian header length, a JSON header, the data.
Format: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from arena_py.contract.messages import UNREADABLE

MAX_HEADER_BYTES = 4 << 20
"""About forty thousand tensors. The format allows 100 MB, which takes gigabytes to decode; a file of a runner could
exhaust the driver's memory with it."""
MOST_DIMENSIONS = 32
MOST_EXTENT = 1 << 48
"""Of all dimensions together, one that is 0 aside: what no file can hold, no array needs to be made for."""
CHUNK_ELEMENTS = 1 << 20

DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(code).newbyteorder("<")
    for name, code in {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "U8": "u1"}.items()
}
"""The types that travel through the contract, and what numpy calls them."""


class TensorFileError(Exception):
    """The file is not a safetensors file, or not one that can be read; the message says where."""


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its type, shape, and where its bytes are."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        """How many scalars it has."""
        return math.prod(self.shape)


class TensorFile:
    """An open safetensors file whose header was checked: types known, offsets in order, gapless and inside the file.

    Raises:
        TensorFileError: on anything else; symbolic links, folders, pipes and devices are refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(
                path,
                os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0),
            )
        except OSError as error:
            raise TensorFileError(f"{path.name}: cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            # Reading a named pipe or a device would never end.
            os.close(descriptor)
            raise TensorFileError(f"{path.name}: not a regular file")
        self._file = os.fdopen(descriptor, "rb")
        try:
            self.tensors: dict[str, TensorInfo] = self._header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _header(self) -> dict[str, TensorInfo]:
        size = os.fstat(self._file.fileno()).st_size
        start = self._file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(MAX_HEADER_BYTES, size - 8):
            raise TensorFileError(f"{self.path.name}: not a safetensors file, or truncated ({size} bytes)")
        try:
            raw = msgspec.json.decode(self._file.read(length), type=dict[str, msgspec.Raw])
            raw.pop("__metadata__", None)
            entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
        except UNREADABLE as error:
            raise TensorFileError(f"{self.path.name}: header is not valid: {error}") from error
        infos, end = {}, 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
            infos[name] = self._info(name, entry, 8 + length, end)
            end = entry.data_offsets[1]
        if 8 + length + end != size:
            raise TensorFileError(f"{self.path.name}: {size} bytes, but its header describes {8 + length + end}")
        return infos

    def _info(self, name: str, entry: _Entry, base: int, end: int) -> TensorInfo:
        dtype = DTYPES.get(entry.dtype)
        if dtype is None:
            raise TensorFileError(f"{self.path.name}: tensor {name!r} has type {entry.dtype}, not one of the contract")
        if any(extent < 0 for extent in entry.shape):
            raise TensorFileError(f"{self.path.name}: tensor {name!r} has a negative extent")
        if len(entry.shape) > MOST_DIMENSIONS or math.prod(extent or 1 for extent in entry.shape) > MOST_EXTENT:
            raise TensorFileError(f"{self.path.name}: tensor {name!r} has a shape that no array can have")
        first, last = entry.data_offsets
        if first != end or last - first != math.prod(entry.shape) * dtype.itemsize:
            raise TensorFileError(f"{self.path.name}: tensor {name!r} has offsets that overlap or do not fit its shape")
        return TensorInfo(name, dtype, tuple(entry.shape), base + first)

    def chunks(self, name: str) -> Iterator[np.ndarray[Any, Any]]:
        """The values of a tensor, flat and in order, at most `CHUNK_ELEMENTS` at a time."""
        info = self.tensors[name]
        self._file.seek(info.offset)
        left = info.elements
        while left:
            chunk = np.fromfile(self._file, dtype=info.dtype, count=min(left, CHUNK_ELEMENTS))
            if chunk.size == 0:
                raise TensorFileError(f"{self.path.name}: tensor {name!r} is truncated")
            left -= chunk.size
            yield chunk

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """A whole tensor in its shape; for small ones."""
        parts = list(self.chunks(name))
        info = self.tensors[name]
        flat = np.concatenate(parts) if parts else np.empty(0, info.dtype)
        return flat.reshape(info.shape)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write small tensors (inputs, test cases) as a safetensors file.

    Raises:
        KeyError: a type that does not travel through the contract.
    """
    codes = {dtype: name for name, dtype in DTYPES.items()}
    header, offset = {}, 0
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    for name, array in arrays.items():
        header[name] = _Entry(codes[array.dtype], list(array.shape), (offset, offset + array.nbytes))
        offset += array.nbytes
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for array in arrays.values():
            file.write(array.tobytes())


def scalar(path: Path, name: str) -> float | None:
    """A scalar of a tensor file; `None` when there is no such scalar."""
    try:
        with TensorFile(path) as file:
            info = file.tensors.get(name)
            return float(file.read(name).item()) if info is not None and info.elements == 1 else None
    except TensorFileError:
        return None
