"""Writing a safetensors file with one tensor in memory at a time.

The format puts the header before the data, and the header needs every shape. Since a tensor is known only when it is
read, room for the header is left first, and the header, padded with spaces as the format allows, is written last.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DTYPES = {
    "<f8": "F64",
    "<f4": "F32",
    "<f2": "F16",
    "<i8": "I64",
    "<i4": "I32",
    "|u1": "U8",
    "|b1": "BOOL",
}
"""numpy's little-endian type codes and the format's."""

ENTRY_ROOM = 320
"""Bytes of header kept for one tensor besides its name: type, up to eight dimensions and two offsets."""
PREFIX = 8
"""The header's length, a little-endian u64."""


def write_tensors(path: Path, tensors: Iterable[tuple[str, Callable[[], np.ndarray[Any, Any]]]]) -> int:
    """Write tensors to `path`, replacing it only when all are written, and return how many there were.

    Args:
        path: the file; its folder must exist.
        tensors: name and a function that fetches the values, called once and one after the other.

    Raises:
        OSError: the file cannot be written.
        TypeError: a type that the format does not have.
    """
    entries = list(tensors)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            room = sum(len(json.dumps(name)) + ENTRY_ROOM for name, _ in entries) + 8
            room += -room % 8
            file.seek(PREFIX + room)
            header = {name: _append(file, name, fetch()) for name, fetch in entries}
            text = _with_offsets(header)
            file.seek(0)
            file.write(room.to_bytes(PREFIX, "little") + text.ljust(room))
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    return len(entries)


def _append(file: BinaryIO, name: str, values: np.ndarray[Any, Any]) -> tuple[str, list[int], int]:
    dtype = DTYPES.get(values.dtype.newbyteorder("<").str)
    if dtype is None:
        raise TypeError(f"tensor `{name}` has type {values.dtype}, which is not written to safetensors files here")
    shape = list(values.shape)  # before `ascontiguousarray`, which makes a scalar one-dimensional
    file.write(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data)
    return dtype, shape, values.nbytes


def _with_offsets(header: dict[str, tuple[str, list[int], int]]) -> bytes:
    end = 0
    entries = {}
    for name, (dtype, shape, size) in header.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return json.dumps(entries, separators=(",", ":")).encode()
