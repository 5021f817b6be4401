"""llama.cpp as a runner: other configurations through the gate, and what it leaves behind, refuses and uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from arena_py.contract.messages import ModelSpec, Sgd, TaskName, TaskOptions
from arena_py.contract.session import RunnerRefused, Session
from arena_py.verify import generate
from arena_py.verify.canon import Canon
from arena_py.verify.conformance import LIMITS, Target
from arena_py.verify.exercise import Exercise
from arena_py.verify.gate import decide, reason
from arena_py.verify.golden import GoldenCase, cases, default_folder
from arena_py.verify.norms import compare

GOLDEN: GoldenCase = next(case for case in cases(default_folder()) if case.name == "llama-tiny")
BASE: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
}
CONFIGS: dict[str, tuple[dict[str, Any], int, int]] = {
    "untied, a key head for each query head": ({"tie_word_embeddings": False, "num_key_value_heads": 4}, 3, 9),
    "one key head": ({"num_key_value_heads": 1}, 2, 12),
    "wide heads": ({"head_dim": 64, "num_attention_heads": 3, "num_key_value_heads": 1}, 2, 12),
    "narrow heads of an odd number of pairs": ({"head_dim": 6}, 2, 12),
    "attention biases": ({"attention_bias": True, "tie_word_embeddings": False}, 2, 12),
    "every bias": ({"attention_bias": True, "mlp_bias": True}, 2, 12),
    "odd widths": ({"hidden_size": 35, "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 10}, 1, 7),
    "another base and epsilon": ({"rope_theta": 5e5, "rms_norm_eps": 1e-3, "intermediate_size": 33}, 2, 40),
    "more positions than are computed together": ({}, 1, 700),
    "several long sequences": ({}, 3, 300),
    "one position": ({}, 1, 1),
}
NEW_TOKENS = 6


THREADS = 2


@pytest.fixture(scope="module")
def llama(runner: Callable[[str], Target], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with runner("llama-cpp").session(tmp_path_factory.mktemp("llama-cpp")) as session:
        yield session


@pytest.fixture(scope="module")
def canon() -> Iterator[Canon]:
    with Canon(THREADS) as canon:
        yield canon


def load(session: Session, weights: Path | None = None, **config: Any) -> Any:
    model = ModelSpec("llama", GOLDEN.model.config | config)
    return session.load(model, weights or GOLDEN.weights, backend="cpu")


def infer(session: Session, inputs: Path, out: Path) -> Any:
    session.prepare("infer", inputs)
    session.outputs(out)
    return load_file(out)["logits"]


@pytest.mark.parametrize("task", ["infer", "decode"])
@pytest.mark.parametrize("name", CONFIGS)
def test_any_configuration_passes_the_gate(
    llama: Session, canon: Canon, tmp_path: Path, name: str, task: TaskName
) -> None:
    config, batch, seq = CONFIGS[name]
    spec = generate.Spec("llama", BASE | config, {"batch": batch, "seq": seq}, 7)
    weights, inputs, bound = (tmp_path / f"{each}.safetensors" for each in ("weights", "inputs", "bound"))
    generate.weights(spec, weights)
    generate.inputs(spec, inputs, bound)
    exercise = Exercise(
        model=ModelSpec("llama", spec.config),
        weights=weights,
        task=task,
        options=TaskOptions(new_tokens=NEW_TOKENS) if task == "decode" else TaskOptions(),
        inputs=inputs,
        later_inputs=[bound],
    )
    expected, rounded, out = (tmp_path / f"{each}.safetensors" for each in ("expected", "rounded", "out"))
    canon.run("reference", exercise.on("cpu", "f64"), expected)
    canon.run("pytorch", exercise, rounded)
    exercise.whole(llama, out)
    noise = {str(group): error for group, error in compare(rounded, expected).worst().items()}
    decision = decide(compare(out, expected), noise, LIMITS)
    assert decision.passed, reason(decision)


def test_an_execution_remembers_nothing_of_the_one_before(llama: Session, tmp_path: Path) -> None:
    load(llama)
    options = TaskOptions(new_tokens=NEW_TOKENS)
    llama.prepare("decode", GOLDEN.inputs, options)
    llama.outputs(tmp_path / "first")
    samples = llama.run(3)
    llama.outputs(tmp_path / "fourth")
    first, fourth = load_file(tmp_path / "first"), load_file(tmp_path / "fourth")
    assert samples.first_token_ns is not None
    assert all(0 < first < whole for first, whole in zip(samples.first_token_ns, samples.samples_ns, strict=True))
    np.testing.assert_array_equal(first["tokens"], fourth["tokens"])
    np.testing.assert_array_equal(first["logits"], fourth["logits"])


def test_half_precision_weights_are_widened(llama: Session, tmp_path: Path) -> None:
    half = {name: values.astype(np.float16) for name, values in load_file(GOLDEN.weights).items()}
    logits = []
    for weights in (half, {name: values.astype(np.float32) for name, values in half.items()}):
        save_file(weights, tmp_path / "weights")
        assert load(llama, tmp_path / "weights").parameter_bytes == 4 * 21_696
        logits.append(infer(llama, GOLDEN.inputs, tmp_path / "out"))
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize("spoil", ["missing", "infinite"])
def test_wrong_weights_leave_no_file_and_the_old_model(
    runner: Callable[[str], Target], tmp_path: Path, spoil: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    weights, name = load_file(GOLDEN.weights), "model.layers.1.self_attn.k_proj.weight"
    values = weights.pop(name).copy()
    if spoil == "infinite":
        values[3, 5] = np.inf
        weights[name] = values
    save_file(weights, tmp_path / "weights")
    with runner("llama-cpp").session(scratch) as session:
        load(session)
        assert list(scratch.iterdir()) == []
        before = infer(session, GOLDEN.inputs, tmp_path / "out")
        with pytest.raises(RunnerRefused, match=name) as caught:
            load(session, tmp_path / "weights")
        assert caught.value.code == "invalid_weights"
        assert list(scratch.iterdir()) == []
        np.testing.assert_array_equal(infer(session, GOLDEN.inputs, tmp_path / "out"), before)
        assert session.log_tail() == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_act": "gelu"}, "hidden_act `gelu`"),
        ({"num_hidden_layers": 513}, "num_hidden_layers 513"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps"),
        ({"sliding_window": 4}, "sliding_window"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
    ],
)
def test_what_it_cannot_express_is_unsupported_by_name(llama: Session, config: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerRefused) as caught:
        load(llama, **config)
    assert caught.value.code == "unsupported"
    assert words in caught.value.message


def test_without_vulkan_in_the_build_there_is_no_such_backend(llama: Session) -> None:
    assert [backend.id for backend in llama.description.backends] == ["cpu"]
    with pytest.raises(RunnerRefused, match="backend `vulkan`, only cpu") as caught:
        llama.load(GOLDEN.model, GOLDEN.weights, backend="vulkan", precision="tf32")
    assert caught.value.code == "unsupported"


def test_other_architectures_and_tasks_are_unsupported_with_the_reason(llama: Session, tmp_path: Path) -> None:
    with pytest.raises(RunnerRefused, match=r"architecture `resnet`: llama\.cpp runs language models"):
        llama.load(ModelSpec("resnet", {}), GOLDEN.weights, backend="cpu")
    load(llama)
    for task, options in (("train", TaskOptions()), ("step", TaskOptions(optimizer=Sgd(lr=0.1)))):
        with pytest.raises(RunnerRefused, match=f"task `{task}`: .* gradient") as caught:
            llama.prepare(task, GOLDEN.inputs, options)  # type: ignore[arg-type]
        assert caught.value.code == "unsupported"
    many = tmp_path / "many.safetensors"
    save_file({"input_ids": np.zeros((257, 1), np.int64)}, many)
    with pytest.raises(RunnerRefused, match=r"batch 257: llama\.cpp has at most 256") as caught:
        llama.prepare("infer", many)
    assert caught.value.code == "unsupported"


def test_it_burns_no_cpu_between_executions(llama: Session) -> None:
    load(llama)
    llama.prepare("infer", GOLDEN.inputs)
    llama.run(20)
    process = psutil.Process(llama.pid)
    before = process.cpu_times()
    time.sleep(2.0)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.1
