"""The process that draws weights and inputs: kept between requests, and telling what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_py.contract.tensors import TensorFile
from arena_py.errors import ArenaError
from arena_py.manifest import model
from arena_py.verify import generate


@pytest.fixture(autouse=True)
def ended():
    yield
    generate.rest()


def spec(name: str, **sizes: int) -> generate.Spec:
    file = model(name).file
    return generate.Spec(file.architecture, file.config, sizes, 7)


def test_one_process_answers_many_requests_and_survives_a_bad_one(tmp_path: Path) -> None:
    tiny = spec("llama-tiny", batch=1, seq=3)
    generate.weights(tiny, tmp_path / "weights.safetensors")
    process = generate._Process.current()
    with pytest.raises(ArenaError, match="size `frames`"):
        generate.inputs(spec("llama-tiny", batch=1, frames=3), tmp_path / "no.safetensors")
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    generate.inputs(tiny, *paths)
    assert generate._Process.current() is process
    ids = []
    for path in paths:
        with TensorFile(path) as file:
            ids.append(file.read("input_ids"))
    assert ids[0].shape == ids[1].shape == (1, 3)
    assert (ids[0] != ids[1]).any()


def test_one_that_died_is_told_and_replaced(tmp_path: Path) -> None:
    tiny = spec("llama-tiny", batch=1, seq=3)
    process = generate._Process.current()
    process._process.kill()
    process._process.wait()
    with pytest.raises(ArenaError, match="killed"):
        generate.inputs(tiny, tmp_path / "a.safetensors")
    generate.inputs(tiny, tmp_path / "a.safetensors")
