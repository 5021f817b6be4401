"""The streaming writer against the format's own library and the driver's reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from arena_py.contract.tensors import TensorFile
from arena_py.contract.writer import write_tensors

TENSORS = {
    "scalar": np.array(1.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "ids": np.arange(6, dtype=np.int64).reshape(2, 3),
    "double": np.linspace(0, 1, 7),
    "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "big endian": np.arange(4, dtype=">f4"),
    'a name with "quotes" and ümläuts': np.ones((1,) * 8, np.float32),
}


def lazily(tensors: dict[str, np.ndarray[Any, Any]]) -> list[tuple[str, Callable[[], np.ndarray[Any, Any]]]]:
    return [(name, lambda values=values: values) for name, values in tensors.items()]


def test_both_readers_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    assert write_tensors(path, lazily(TENSORS)) == len(TENSORS)
    stored = load_file(path)
    assert set(stored) == set(TENSORS)
    with TensorFile(path) as file:
        for name, values in TENSORS.items():
            assert stored[name].shape == values.shape
            np.testing.assert_array_equal(stored[name], values)
            np.testing.assert_array_equal(file.read(name), values)


def test_no_tensors_are_a_file_too(tmp_path: Path) -> None:
    assert write_tensors(tmp_path / "t", []) == 0
    assert load_file(tmp_path / "t") == {}


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, lazily({"old": np.ones(3)}))

    def fail() -> np.ndarray[Any, Any]:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_tensors(path, [("new", lambda: np.ones(3)), ("bad", fail)])
    assert set(load_file(path)) == {"old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_type_that_the_format_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`z` has type complex128"):
        write_tensors(tmp_path / "t", lazily({"z": np.ones(2, complex)}))


def test_one_tensor_at_a_time_is_fetched(tmp_path: Path) -> None:
    """Each is fetched only after the one before was written: its bytes are already in the unfinished file."""
    sizes: list[int] = []

    def fetch() -> np.ndarray[Any, Any]:
        (unfinished,) = tmp_path.iterdir()
        sizes.append(unfinished.stat().st_size)
        return np.ones(1 << 16, np.float32)

    write_tensors(tmp_path / "t", [(str(index), fetch) for index in range(4)])
    assert sizes == sorted(set(sizes))
