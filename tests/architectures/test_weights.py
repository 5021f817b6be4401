"""The weights file: exact widening, and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from arena_py.architectures.parameter import Parameter
from arena_py.architectures.weights import read
from arena_py.contract.adapter import RunnerError
from arena_py.contract.tensors import write_tensors

SHAPE = (2, 3)
PARAMETERS = [Parameter("a", SHAPE), Parameter("b", (4,))]


def written(path: Path, **changes: Any) -> Path:
    whole = {"a": np.arange(6, dtype=np.float32).reshape(SHAPE), "b": np.ones(4, np.float32), "c": np.ones(1)} | changes
    save_file({name: values for name, values in whole.items() if values is not None}, path)
    return path


def test_what_is_asked_for_is_read_and_the_rest_ignored(tmp_path: Path) -> None:
    tensors = {parameter.name: values for parameter, values in read(written(tmp_path / "w"), PARAMETERS)}
    assert {name: values.dtype for name, values in tensors.items()} == {"a": np.float32, "b": np.float32}
    np.testing.assert_array_equal(tensors["a"], np.arange(6).reshape(SHAPE))


def test_half_precision_is_widened_exactly(tmp_path: Path) -> None:
    halves = np.float16([[1.5, -0.1, 6e-8], [65504, 0, -0.0]])
    ((_, values),) = read(written(tmp_path / "w", a=halves), PARAMETERS[:1])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, halves.astype(np.float32))


@given(st.lists(st.integers(0, 2**16 - 1).filter(lambda bits: bits >> 7 & 0xFF != 0xFF), min_size=4, max_size=4))
def test_bfloat16_is_the_upper_half(tmp_path_factory: pytest.TempPathFactory, bits: list[int]) -> None:
    path = tmp_path_factory.mktemp("w") / "w"
    # The numpy of the safetensors package has no bfloat16: its bytes travel as float16, renamed in the header.
    write_tensors(path, {"b": np.array(bits, np.uint16).view(np.float16)})
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"BF16"').replace(b"} ", b"}", 1))
    ((_, values),) = read(path, PARAMETERS[1:])
    np.testing.assert_array_equal(values.view(np.uint32), np.array(bits, np.uint32) << 16)


def spoiled(value: float) -> Callable[[], Any]:
    return lambda: np.float32([[0, 1, 2], [3, value, 5]])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "missing": (lambda: None, "`a` is missing"),
    "shape": (lambda: np.ones((3, 2), np.float32), r"`a` has shape \[3, 2\], expected \[2, 3\]"),
    "type": (lambda: np.ones(SHAPE), "`a` is F64"),
    "nan": (spoiled(np.nan), "`a` has a value that is not finite"),
    "infinite": (spoiled(-np.inf), "`a` has a value that is not finite"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_tensor_is_named(tmp_path: Path, make: Callable[[], Any], words: str) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        list(read(written(tmp_path / "w", a=make()), PARAMETERS))
    assert caught.value.code == "invalid_weights"


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path / "w")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunnerError, match="cannot be read"):
        list(read(path, PARAMETERS))
