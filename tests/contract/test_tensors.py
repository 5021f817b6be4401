"""Reading tensor files of somebody else: what is right comes back, what is not is refused, and nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from arena_py.contract.tensors import CHUNK_ELEMENTS, TensorFile, TensorFileError, write_tensors

ARRAYS = hnp.arrays(
    dtype=st.sampled_from([np.dtype("<f4"), np.dtype("<f8"), np.dtype("<i8")]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"allow_nan": False},
)


DEEP = b"[" * 100_000 + b"]" * 100_000


def raw(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    return path


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=4))
def test_what_is_written_is_what_the_public_library_reads_and_the_other_way(tmp_path_factory, arrays) -> None:
    ours, theirs = (tmp_path_factory.mktemp("t") / name for name in ("ours.safetensors", "theirs.safetensors"))
    write_tensors(ours, arrays)
    save_file(arrays, theirs)
    by_library = load_file(ours)
    with TensorFile(theirs) as file:
        assert file.tensors.keys() == arrays.keys() == by_library.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(by_library[name], array)
            np.testing.assert_array_equal(file.read(name), array)
            assert file.read(name).shape == array.shape


def test_a_long_tensor_comes_in_chunks(tmp_path: Path) -> None:
    array = np.arange(CHUNK_ELEMENTS * 2 + 5, dtype=np.float32)
    write_tensors(tmp_path / "long.safetensors", {"a": array})
    with TensorFile(tmp_path / "long.safetensors") as file:
        chunks = list(file.chunks("a"))
    assert [len(chunk) for chunk in chunks] == [CHUNK_ELEMENTS, CHUNK_ELEMENTS, 5]
    np.testing.assert_array_equal(np.concatenate(chunks), array)


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        (b"", b"", 1 << 60, "not a safetensors file"),
        (b"{}", b"", 100, "truncated"),
        (b"{]", b"", None, "header is not valid"),
        (b"\xff\xfe", b"", None, "header is not valid"),
        (b"[]", b"", None, "header is not valid"),
        (b'{"a": 3}', b"", None, "header is not valid"),
        (entry(dtype="F13"), b"\0" * 8, None, "type F13"),
        (entry(shape=(-2,)), b"\0" * 8, None, "negative"),
        (entry(shape=(3,)), b"\0" * 8, None, "do not fit"),
        (entry(shape=(1 << 20, 1 << 20)), b"\0" * 8, None, "do not fit"),
        (entry(shape=(1 << 40, 1 << 40)), b"\0" * 8, None, "a shape that no array can have"),
        (entry(offsets=(4, 12)), b"\0" * 12, None, "overlap"),
        (entry(), b"\0" * 4, None, "header describes"),
        (entry(), b"\0" * 9, None, "header describes"),
        (entry(offsets=(0, "8")), b"\0" * 8, None, "header is not valid"),
        (b'{"a":' + DEEP + b"}", b"", None, "header is not valid"),
        (b'{"__metadata__":' + DEEP + b"}", b"", None, "header is not valid"),
        (entry(shape=[1] * 100, offsets=(0, 4)), b"\0" * 4, None, "a shape that no array can have"),
        (entry(shape=[0, 1 << 62], offsets=(0, 0)), b"", None, "a shape that no array can have"),
        (entry(shape=[1 << 64, 0], offsets=(0, 0)), b"", None, "a shape that no array can have"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, header: bytes, data: bytes, length: int | None, words: str) -> None:
    with pytest.raises(TensorFileError, match=words):
        TensorFile(raw(tmp_path / "bad.safetensors", header, data, length))


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"a": tensor, "b": tensor}).encode()
    with pytest.raises(TensorFileError, match="overlap"):
        TensorFile(raw(tmp_path / "bad.safetensors", header, b"\0" * 8))


def test_a_symbolic_link_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {})
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "a.safetensors")
    for name in ("link", "absent"):
        with pytest.raises(TensorFileError, match="cannot be opened"):
            TensorFile(tmp_path / f"{name}.safetensors")


@examples(300)
@given(st.binary(max_size=200), st.integers(0, 220))
def test_no_bytes_crash_the_reader(tmp_path_factory, content: bytes, length: int) -> None:
    path = tmp_path_factory.mktemp("t") / "any.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + content)
    try:
        with TensorFile(path) as file:
            for name in file.tensors:
                file.read(name)
    except TensorFileError:
        pass


EXTENTS = st.one_of(st.integers(-1, 5), st.sampled_from([1 << 31, 1 << 48, (1 << 63) - 1, 1 << 64]))
OFFSETS = st.one_of(st.integers(0, 40), st.sampled_from([-1, 1 << 63, "8", 1.5, None]))
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F64", "F16", "I64", "I32", "U8", "BF16", "BOOL", 3, None]),
        "shape": st.lists(EXTENTS, max_size=40),
        "data_offsets": st.lists(OFFSETS, max_size=3),
        "more": st.recursive(st.none(), lambda inner: st.lists(inner, max_size=2)),
    },
)


@st.composite
def nearly_right(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A header and data, of which at most one thing is not as it must be, or all of it."""
    header: dict[str, object] = {}
    end = 0
    for name in draw(st.lists(st.text(max_size=3), unique=True, max_size=4)):
        shape = draw(st.lists(st.integers(0, 3), max_size=4))
        size = int(np.prod(shape, dtype=int)) * 4
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    for name in draw(st.lists(st.sampled_from(sorted(header)), max_size=1)) if header else []:
        header[name] = {**header[name], **draw(ENTRIES)} if draw(st.booleans()) else draw(ENTRIES)
    return json.dumps(header).encode(), b"\1" * (end + draw(st.sampled_from([0, 0, 0, -1, 1])))


@examples(500)
@given(nearly_right(), st.integers(-2, 2).map(lambda off: off // 2))
def test_a_header_that_is_nearly_right_is_refused_or_says_what_is_there(
    tmp_path_factory, written: tuple[bytes, bytes], off: int
) -> None:
    header, data = written
    path = raw(tmp_path_factory.mktemp("t") / "any.safetensors", header, data, max(0, len(header) + off))
    try:
        with TensorFile(path) as file:
            for name, info in file.tensors.items():
                values = file.read(name)
                assert values.shape == info.shape
                assert 8 + len(header) <= info.offset <= info.offset + values.nbytes <= path.stat().st_size
    except TensorFileError as error:
        assert path.name in str(error)
