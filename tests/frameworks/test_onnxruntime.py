"""ONNX Runtime on configurations that the golden cases do not have, its cache of graphs, and its refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from configurations import CASES
from safetensors.numpy import load_file, save_file

from arena_py import places
from arena_py.contract.messages import AdamW, ModelSpec, Sgd, TaskName, TaskOptions
from arena_py.contract.session import RunnerRefused, Session
from arena_py.frameworks.onnx import graphs
from arena_py.frameworks.onnx.spec import GraphSpec
from arena_py.verify.canon import Canon
from arena_py.verify.conformance import LIMITS, Target
from arena_py.verify.exercise import Exercise
from arena_py.verify.gate import decide, reason
from arena_py.verify.golden import GoldenCase, cases, default_folder
from arena_py.verify.norms import compare

GOLDEN = {case.name: case for case in cases(default_folder())}
ELSEWHERE = frozenset(
    {
        "llama untied, as many key heads",
        "smolvla period of 3",
        "smolvla one key head, every layer",
        "unet three levels of two layers",
        "resnet basic",
        "whisper uneven depths",
    }
)
"""Configurations that `tests/variants` puts every runner through: an export takes many seconds."""
ADAMW = AdamW(lr=3e-3, betas=(0.8, 0.97), eps=1e-3, weight_decay=0.2)
IDLE_S = 1.0


@pytest.fixture(scope="module")
def target(runner: Callable[[str], Target]) -> Target:
    return runner("onnxruntime")


@pytest.fixture(scope="module")
def session(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with target.session(tmp_path_factory.mktemp("session")) as session:
        yield session


@pytest.fixture(scope="module")
def canon() -> Iterator[Canon]:
    with Canon(threads=2) as canon:
        yield canon


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a configuration's weights and inputs, made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("case")
            CASES[name].write(made[name])
        return made[name]

    return folder


def assert_right(
    session: Session, canon: Canon, folder: Path, name: str, task: TaskName, options: TaskOptions | None = None
) -> None:
    exercise = Exercise(
        model=CASES[name].model,
        weights=folder / "weights.safetensors",
        task=task,
        options=options or TaskOptions(),
        inputs=folder / "inputs.safetensors",
        later_inputs=[folder / "bound.safetensors"],
    )
    reference, rounded, out = (folder / f"{each}.safetensors" for each in ("reference", "rounded", "out"))
    canon.run("reference", exercise.on("cpu", "f64"), reference)
    canon.run("pytorch", exercise, rounded)
    exercise.whole(session, out)
    decision = decide(compare(out, reference), compare(rounded, reference).worst(), LIMITS)
    assert decision.passed, reason(decision)


@pytest.mark.parametrize("name", sorted(CASES.keys() - ELSEWHERE))
def test_other_configurations_are_right_too(
    session: Session, canon: Canon, folders: Callable[[str], Path], name: str
) -> None:
    assert_right(session, canon, folders(name), name, "train")


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.05), ADAMW], ids=["sgd", "adamw"])
def test_two_steps_are_those_of_pytorch(
    session: Session, canon: Canon, folders: Callable[[str], Path], optimizer: Sgd | AdamW
) -> None:
    name = "smolvla period of 3"
    assert_right(session, canon, folders(name), name, "step", TaskOptions(optimizer=optimizer))


def load(session: Session, case: GoldenCase, **config: Any) -> None:
    model = ModelSpec(case.model.architecture, case.model.config | config)
    session.load(model, case.weights, backend="cpu", precision="f32")


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_training_twice_gives_the_same_bits(session: Session, tmp_path: Path, case: GoldenCase) -> None:
    load(session, case)
    session.prepare("train", case.inputs)
    session.outputs(tmp_path / "first")
    session.run(2)
    session.outputs(tmp_path / "second")
    first, second = load_file(tmp_path / "first"), load_file(tmp_path / "second")
    assert first.keys() == second.keys()
    assert all(np.array_equal(values, second[name]) for name, values in first.items())


def test_the_parameters_of_a_step_stay_for_other_tasks(session: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    load(session, case)
    session.prepare("step", case.inputs, TaskOptions(optimizer=Sgd(lr=0.05)))
    session.outputs(tmp_path / "stepped")
    stepped = load_file(tmp_path / "stepped")
    weights = {name.removeprefix("param."): values for name, values in stepped.items() if name.startswith("param.")}
    save_file(weights, tmp_path / "weights")
    session.prepare("infer", case.inputs)
    session.outputs(tmp_path / "after")
    session.load(case.model, tmp_path / "weights", backend="cpu", precision="f32")
    session.prepare("infer", case.inputs)
    session.outputs(tmp_path / "again")
    np.testing.assert_array_equal(load_file(tmp_path / "after")["logits"], load_file(tmp_path / "again")["logits"])


def test_one_graph_serves_every_learning_rate(session: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    before = load_file(case.weights)["model.norm.weight"]
    moved = []
    for lr in (0.01, 0.02):
        load(session, case)
        session.prepare("step", case.inputs, TaskOptions(optimizer=Sgd(lr=lr)))
        session.outputs(tmp_path / "out", ["param.model.norm.weight"])
        moved.append(load_file(tmp_path / "out")["param.model.norm.weight"] - before)
    np.testing.assert_allclose(moved[1], 2 * moved[0], atol=1e-6)


@pytest.fixture
def private(target: Target, tmp_path: Path) -> Target:
    """The runner with an empty cache of its own."""
    cache = {"ARENA_ONNX_GRAPHS": str(tmp_path / "graphs")}
    return msgspec.structs.replace(target, environment=target.environment | cache)


def trained(target: Target, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    with target.session(folder) as session:
        load(session, GOLDEN["llama-tiny"])
        session.prepare("train", GOLDEN["llama-tiny"].inputs)
        session.outputs(folder / "out")
    return load_file(folder / "out")


def test_a_kept_graph_is_used_again_and_a_damaged_one_made_anew(private: Target, tmp_path: Path) -> None:
    first = trained(private, tmp_path / "first")
    (kept,) = (tmp_path / "graphs").iterdir()
    graph, (optimised,) = kept / "graph.onnx", kept.glob("optimised-*.onnx")
    whole, stamp = graph.read_bytes(), graph.stat().st_mtime_ns
    second = trained(private, tmp_path / "second")
    assert graph.stat().st_mtime_ns == stamp
    optimised.write_bytes(optimised.read_bytes()[:-100])
    third = trained(private, tmp_path / "third")
    assert graph.stat().st_mtime_ns == stamp
    graph.write_bytes(whole[:-100])
    fourth = trained(private, tmp_path / "fourth")
    assert graph.stat().st_mtime_ns != stamp
    assert len(list((tmp_path / "graphs").iterdir())) == 1
    for other in (second, third, fourth):
        assert all(np.array_equal(values, other[name]) for name, values in first.items())


def test_without_its_exporter_it_says_how_to_get_one(private: Target, tmp_path: Path) -> None:
    nowhere = {"ARENA_ONNX_EXPORTER": str(tmp_path / "python")}
    lacking = msgspec.structs.replace(private, environment=private.environment | nowhere)
    with lacking.session(tmp_path) as session:
        load(session, GOLDEN["resnet-tiny"])
        with pytest.raises(RunnerRefused, match="build onnxruntime") as caught:
            session.prepare("infer", GOLDEN["resnet-tiny"].inputs)
    assert caught.value.code == "unsupported"
    assert not list(tmp_path.glob("graphs/*"))


def test_an_export_that_fails_leaves_nothing(private: Target, tmp_path: Path) -> None:
    failing = {"ARENA_ONNX_EXPORTER": shutil.which("false") or "/bin/false"}
    broken = msgspec.structs.replace(private, environment=private.environment | failing)
    with broken.session(tmp_path) as session:
        load(session, GOLDEN["resnet-tiny"])
        with pytest.raises(RunnerRefused, match="the exporter failed") as caught:
            session.prepare("infer", GOLDEN["resnet-tiny"].inputs)
    assert caught.value.code == "internal"
    assert not list(tmp_path.glob("graphs/*"))


@pytest.mark.parametrize(
    ("forward", "operation"),
    [
        ("torch.conv_transpose2d(torch.ones(1, 2, 4, 4), values, stride=2)", "a transposed convolution"),
        ("torch.embedding(values[0, 0], torch.tensor([0, 1, 0]), scale_grad_by_freq=True)", "the frequency of ids"),
        (
            "torch.batch_norm(values, torch.ones(3), torch.zeros(3), None, None, True, 0.1, 1e-5, False)",
            "the batch's own statistics",
        ),
    ],
)
def test_a_gradient_without_a_lowering_is_unsupported_by_name(target: Target, forward: str, operation: str) -> None:
    exporter = places.artifacts() / "env" / "onnxruntime-exporter" / "bin" / "python"
    code = f"""
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.onnx.gradients import TABLE

def traced(values):
    values = values.detach().requires_grad_()
    return torch.autograd.grad(({forward}).square().sum(), values)

try:
    make_fx(traced, decomposition_table=TABLE)(torch.randn(2, 3, 4, 4))
except RunnerError as error:
    print(error.code, error.message)
"""
    environment = target.environment | {"PYTHONPATH": str(places.PACKAGE.parent)}
    done = subprocess.run([exporter, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("unsupported "), done.stdout
    assert operation in done.stdout


def test_an_operator_that_only_the_exporter_takes_apart_is_exported(target: Target, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    shapes = {name: list(values.shape) for name, values in load_file(case.inputs).items()}
    spec = GraphSpec(case.model.architecture, case.model.config | {"hidden_act": "prelu"}, "train", shapes)
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
    command = [graphs._exporter(), graphs.SCRIPT, tmp_path / "spec.json", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=target.environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / graphs.GRAPH).stat().st_size


def test_a_provider_that_the_package_lacks_is_unsupported(session: Session) -> None:
    case = GOLDEN["llama-tiny"]
    with pytest.raises(RunnerRefused, match="cuda") as caught:
        session.load(case.model, case.weights, backend="cuda", precision="f32")
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("llama-tiny", {"sliding_window": 4}, "sliding_window"),
        ("unet-tiny", {"class_embed_type": "timestep"}, "class_embed_type"),
        ("whisper-tiny-dims", {"encoder_layerdrop": 0.1}, "encoder_layerdrop"),
    ],
)
def test_what_is_not_honoured_is_unsupported_at_load(
    session: Session, name: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerRefused, match=words) as caught:
        load(session, GOLDEN[name], **change)
    assert caught.value.code == "unsupported"


def test_decoding_is_unsupported_for_now(session: Session) -> None:
    load(session, GOLDEN["llama-tiny"])
    with pytest.raises(RunnerRefused, match="decode") as caught:
        session.prepare("decode", GOLDEN["llama-tiny"].inputs, TaskOptions(new_tokens=2))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("lr", [-1.0, float("nan")])
def test_an_optimizer_that_torch_refuses_is_an_invalid_request(session: Session, lr: float) -> None:
    case = GOLDEN["llama-tiny"]
    load(session, case)
    with pytest.raises(RunnerRefused, match="lr") as caught:
        session.prepare("step", case.inputs, TaskOptions(optimizer=msgspec.structs.replace(ADAMW, lr=lr)))
    assert caught.value.code == "invalid_request"


@pytest.mark.usefixtures("real_pools")
@pytest.mark.parametrize("threads", [1, 3])
def test_it_has_as_many_threads_as_it_is_told_and_they_rest(target: Target, tmp_path: Path, threads: int) -> None:
    case = GOLDEN["resnet-tiny"]
    with Session(target.command, scratch=tmp_path, threads=threads) as session:
        before = psutil.Process(session.pid).num_threads()
        load(session, case)
        loaded = psutil.Process(session.pid).num_threads()
        session.prepare("infer", case.inputs)
        process = psutil.Process(session.pid)
        assert process.num_threads() - loaded == threads - 1, f"{before} before load"
        session.run(20)
        used = sum(process.cpu_times()[:2])
        time.sleep(IDLE_S)
        assert sum(process.cpu_times()[:2]) - used <= 0.02 * IDLE_S


def test_what_it_reads_of_the_graph_is_what_the_checkpoint_holds(session: Session, tmp_path: Path) -> None:
    case = GOLDEN["resnet-tiny"]
    weights = load_file(case.weights)
    name = next(name for name in weights if name.endswith("running_mean"))
    save_file({key: values for key, values in weights.items() if key != name}, tmp_path / "weights")
    with pytest.raises(RunnerRefused) as caught:
        session.load(case.model, tmp_path / "weights", backend="cpu", precision="f32")
    assert caught.value.code == "invalid_weights"
    assert json.dumps(name).strip('"') in caught.value.message
