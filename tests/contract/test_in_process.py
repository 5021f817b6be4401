"""A framework in the driver's own process: what it answers is what the worker of the same adapter answers."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_server import Doubling, DoublingModel

from arena_py.contract.adapter import LoadSpec
from arena_py.contract.in_process import InProcessSession
from arena_py.contract.messages import ModelSpec, TaskOptions
from arena_py.contract.session import RunnerFailed, RunnerRefused, Session

HERE = Path(__file__).parent
SERVE = (
    f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[1])!r}]; sys.argv.pop();"
    "from test_server import Doubling; from arena_py.contract.server import serve; sys.exit(serve(Doubling))"
)
MODEL = ModelSpec("llama", {})


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessSession]:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with InProcessSession(Doubling, scratch=tmp_path, environment={"SNAKE": "{threads}!"}, threads=3) as made:
        yield made


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "inputs.safetensors"
    save_file({"x": np.array([[1.5, 2.25]], np.float32)}, path)
    return path


def exercised(session: Session, inputs: Path, out: Path) -> dict[str, np.ndarray]:
    session.load(MODEL, inputs, backend="cpu")
    session.prepare("infer", inputs, TaskOptions())
    session.run(3)
    session.outputs(out)
    return load_file(out)


def test_it_gives_the_bits_that_a_process_gives(session: InProcessSession, inputs: Path, tmp_path: Path) -> None:
    here = exercised(session, inputs, tmp_path / "here.safetensors")
    with Session([sys.executable, "-c", SERVE], scratch=tmp_path) as apart:
        there = exercised(apart, inputs, tmp_path / "there.safetensors")
        assert apart.description == session_description(session, apart)
    assert here.keys() == there.keys()
    assert all(here[name].tobytes() == there[name].tobytes() for name in here)
    assert here


class Cyclic(Doubling):
    """Its models refer to themselves, as modules of frameworks do, so that only the collector of garbage frees them."""

    def __init__(self) -> None:
        self.models: list[weakref.ref[DoublingModel]] = []

    def load(self, spec: LoadSpec) -> DoublingModel:
        model = super().load(spec)
        model.itself = model  # type: ignore[attr-defined]
        self.models.append(weakref.ref(model))
        return model


def test_what_is_not_gone_over_between_samples_is_freed_all_the_same(tmp_path: Path, inputs: Path) -> None:
    framework = Cyclic()
    with InProcessSession(lambda: framework, scratch=tmp_path) as session:
        for _ in range(2):
            exercised(session, inputs, tmp_path / "out.safetensors")
            frozen = gc.get_freeze_count()
            session.run(1)
            assert gc.get_freeze_count() == frozen > 0
        gc.collect()
        assert [model() is None for model in framework.models] == [True, False]
    gc.collect()
    assert [model() for model in framework.models] == [None, None]


def session_description(session: InProcessSession, apart: Session) -> object:
    from msgspec.structs import asdict

    return type(apart.description)(event="ready", **asdict(session.description))


def test_what_a_process_alone_has_is_absent(session: InProcessSession) -> None:
    assert session.startup_ns is None
    assert session.usage() is None
    assert session.pid == os.getpid()
    with pytest.raises(RunnerFailed, match="no pipe for raw lines"):
        session.exchange(b"{}")


def test_refusals_are_those_of_the_contract(session: InProcessSession, inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunnerRefused, match="`prepare` before `load`") as caught:
        session.prepare("infer", inputs)
    assert (caught.value.code, caught.value.status) == ("invalid_request", "crashed")
    session.load(MODEL, inputs, backend="cpu")
    with pytest.raises(RunnerRefused) as caught:
        session.prepare("infer", tmp_path / "absent.safetensors")
    assert caught.value.code == "invalid_inputs"


def test_what_a_framework_raises_is_internal_with_its_words(
    session: InProcessSession, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*_: object) -> None:
        raise RuntimeError("the snake bit")

    monkeypatch.setattr(Doubling, "load", burst)
    with pytest.raises(RunnerRefused, match="load: internal: the snake bit"):
        session.load(MODEL, inputs, backend="cpu")


def test_what_cannot_be_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def missing() -> Doubling:
        raise ImportError("No module named 'snake'")

    with pytest.raises(RunnerFailed, match="cannot be imported: No module named 'snake'"):
        InProcessSession(missing, scratch=tmp_path)


def test_threads_and_the_variants_variables_are_set_before_the_import(session: InProcessSession) -> None:
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["KMP_BLOCKTIME"] == "5"
    assert os.environ["SNAKE"] == "3!"


def test_nothing_is_printed_among_the_results(
    session: InProcessSession, inputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = Doubling.load

    def chatty(self: Doubling, spec: object) -> object:
        print("from python")
        os.write(1, b"from native code\n")
        return real(self, spec)

    monkeypatch.setattr(Doubling, "load", chatty)
    session.load(MODEL, inputs, backend="cpu")
    print("a result")
    said = capfd.readouterr()
    assert said.out == "a result\n"
    assert "from native code" in said.err


def test_a_closed_session_says_so(session: InProcessSession, inputs: Path) -> None:
    session.close()
    with pytest.raises(RunnerFailed, match="the session was closed"):
        session.load(MODEL, inputs, backend="cpu")


def test_the_driver_imports_no_framework_for_it() -> None:
    code = (
        "import arena_py.build.launch, arena_py.cli.compare, arena_py.cli.conform, sys;"
        "sys.exit(str({'torch', 'jax', 'arena_py.frameworks.pytorch'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
