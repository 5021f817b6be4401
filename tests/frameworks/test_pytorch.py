"""PyTorch and the reference as runners: the golden numbers, the tasks against each other, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from arena_py import places
from arena_py.contract.messages import AdamW, ModelSpec, Sgd, TaskName, TaskOptions
from arena_py.contract.session import RunnerRefused, Session
from arena_py.verify.golden import GoldenCase, cases, default_folder
from arena_py.verify.norms import compare

GOLDEN = {case.name: case for case in cases(default_folder())}
EXACT = 1e-12
"""Float64 arithmetic in another order."""
ROUNDED = {"llama-tiny": 1e-6}
"""These golden cases were made by modules that round norms and softmax to float32, which the reference does not."""
NEW_TOKENS = 5
Change = Callable[[dict[str, Any]], dict[str, Any]]


def spawn(python: Path, name: str, scratch: Path, environment: dict[str, str] | None = None) -> Session:
    # Importing torch and transformers takes long on a busy machine.
    command = [str(python), str(places.PACKAGE / "worker.py"), name]
    timeouts_s = {"ready": 300.0, "load": 600.0}
    return Session(command, scratch=scratch, threads=2, timeouts_s=timeouts_s, environment=environment)


@pytest.fixture(scope="module")
def pytorch(pytorch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with spawn(pytorch_python, "pytorch", tmp_path_factory.mktemp("pytorch")) as session:
        yield session


@pytest.fixture(scope="module")
def reference(pytorch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with spawn(pytorch_python, "reference", tmp_path_factory.mktemp("reference")) as session:
        yield session


@pytest.fixture(scope="module")
def plain(pytorch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    environment = {"ATEN_CPU_CAPABILITY": "default"}
    with spawn(pytorch_python, "reference", tmp_path_factory.mktemp("plain"), environment) as session:
        yield session


def load(session: Session, case: GoldenCase, weights: Path | None = None, **config: Any) -> Any:
    precision = "f64" if session.description.runner == "reference" else "f32"
    model = ModelSpec(case.model.architecture, case.model.config | config)
    return session.load(model, weights or case.weights, backend="cpu", precision=precision)


def perform(
    session: Session, task: TaskName, inputs: Path, out: Path, options: TaskOptions | None = None
) -> dict[str, Any]:
    session.prepare(task, inputs, options)
    session.outputs(out)
    return load_file(out)


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
@pytest.mark.parametrize("task", ["infer", "train"])
def test_the_reference_is_the_golden_one(reference: Session, tmp_path: Path, case: GoldenCase, task: TaskName) -> None:
    load(reference, case)
    outputs = perform(reference, task, case.inputs, tmp_path / "out.safetensors")
    assert {values.dtype for values in outputs.values()} == {np.dtype(np.float64)}
    comparison = compare(tmp_path / "out.safetensors", case.expected, case.names(task))
    assert not comparison.problems
    assert max(distance.error for distance in comparison.distances) < ROUNDED.get(case.name, EXACT)


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_the_reference_is_the_same_without_vector_instructions(
    reference: Session, plain: Session, tmp_path: Path, case: GoldenCase
) -> None:
    """Sums have another order there: whatever is rounded to float32 on the way would show."""
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    for session, out in ((reference, ours), (plain, theirs)):
        load(session, case)
        perform(session, "train", case.inputs, out)
    comparison = compare(ours, theirs, case.names("train"))
    assert not comparison.problems
    assert max(distance.error for distance in comparison.distances) < EXACT


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_float32_is_as_far_from_the_reference_as_its_rounding(
    pytorch: Session, tmp_path: Path, case: GoldenCase
) -> None:
    loaded = load(pytorch, case)
    assert loaded.parameter_bytes == 4 * loaded.parameters
    noise = case.noise()
    for task in ("infer", "train"):
        outputs = perform(pytorch, task, case.inputs, tmp_path / "out.safetensors")
        assert {values.dtype for values in outputs.values()} == {np.dtype(np.float32)}
        for distance in compare(tmp_path / "out.safetensors", case.expected, case.names(task)).distances:
            assert distance.error <= 8 * noise[distance.group] + 1e-6, distance


@pytest.mark.parametrize("name", ["llama-tiny", "whisper-tiny-dims"])
def test_decode_is_what_a_run_without_a_cache_gives(reference: Session, tmp_path: Path, name: str) -> None:
    case, out = GOLDEN[name], tmp_path / "out.safetensors"
    load(reference, case)
    decoded = perform(reference, "decode", case.inputs, out, TaskOptions(new_tokens=NEW_TOKENS))
    assert set(decoded) == {"tokens", "logits"}
    assert decoded["tokens"].shape == (2, NEW_TOKENS)
    np.testing.assert_array_equal(decoded["tokens"], decoded["logits"].argmax(-1))
    prompt = "input_ids" if name == "llama-tiny" else "decoder_input_ids"
    inputs = load_file(case.inputs)
    whole = tmp_path / "whole.safetensors"
    save_file(inputs | {prompt: np.concatenate((inputs[prompt], decoded["tokens"][:, :-1]), 1)}, whole)
    logits = perform(reference, "infer", whole, out)["logits"][:, -NEW_TOKENS:]
    np.testing.assert_allclose(decoded["logits"], logits, rtol=EXACT, atol=EXACT)


def test_first_token_times_come_with_the_samples(pytorch: Session) -> None:
    load(pytorch, GOLDEN["llama-tiny"])
    pytorch.prepare("decode", GOLDEN["llama-tiny"].inputs, TaskOptions(new_tokens=NEW_TOKENS))
    samples = pytorch.run(3)
    assert samples.first_token_ns is not None
    assert all(0 < first < whole for first, whole in zip(samples.first_token_ns, samples.samples_ns, strict=True))


def adamw(value: Any, gradient: Any, options: AdamW) -> Any:
    """The first step of https://arxiv.org/abs/1711.05101, algorithm 2: the bias corrections cancel the averages."""
    return value * (1 - options.lr * options.weight_decay) - options.lr * gradient / (np.abs(gradient) + options.eps)


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_a_step_is_the_gradient_and_the_update(reference: Session, tmp_path: Path, case: GoldenCase) -> None:
    before = load_file(case.weights)
    load(reference, case)
    expected = perform(reference, "train", case.inputs, tmp_path / "out")
    gradients = {name.removeprefix("grad."): g for name, g in expected.items() if name.startswith("grad.")}
    sgd, adam = Sgd(lr=0.5), AdamW(lr=1e-2, betas=(0.9, 0.95), eps=1e-3, weight_decay=0.1)
    updates: list[tuple[Any, Callable[[Any, Any], Any]]] = [
        (sgd, lambda value, gradient: value - sgd.lr * gradient),
        (adam, lambda value, gradient: adamw(value, gradient, adam)),
    ]
    for optimizer, update in updates:
        load(reference, case)
        outputs = perform(reference, "step", case.inputs, tmp_path / "out", TaskOptions(optimizer=optimizer))
        assert outputs.pop("loss") == pytest.approx(expected["loss"], rel=1e-12)
        assert set(outputs) == {f"param.{name}" for name in gradients}
        for name, gradient in gradients.items():
            wanted = update(before[name].astype(np.float64), gradient)
            np.testing.assert_allclose(outputs[f"param.{name}"], wanted, rtol=1e-9, atol=1e-9, err_msg=name)


def test_steps_go_on_from_each_other(pytorch: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    load(pytorch, case)
    options = TaskOptions(optimizer=Sgd(lr=0.05))
    losses = [float(perform(pytorch, "step", case.inputs, tmp_path / "out", options)["loss"])]
    for _ in range(4):
        pytorch.run(1)
        pytorch.outputs(tmp_path / "out", ["loss"])
        losses.append(float(load_file(tmp_path / "out")["loss"]))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_training_twice_gives_the_same_bits(pytorch: Session, tmp_path: Path) -> None:
    case = GOLDEN["unet-tiny"]
    load(pytorch, case)
    first = perform(pytorch, "train", case.inputs, tmp_path / "first")
    pytorch.run(2)
    pytorch.outputs(tmp_path / "second")
    second = load_file(tmp_path / "second")
    assert all(np.array_equal(values, second[name]) for name, values in first.items())


def test_bound_inputs_are_what_is_computed(pytorch: Session, tmp_path: Path) -> None:
    case, other = GOLDEN["resnet-tiny"], tmp_path / "other.safetensors"
    save_file({name: values[::-1].copy() for name, values in load_file(case.inputs).items()}, other)
    load(pytorch, case)
    forward = perform(pytorch, "infer", case.inputs, tmp_path / "out")["logits"]
    pytorch.bind(other)
    pytorch.run(1)
    pytorch.outputs(tmp_path / "out")
    np.testing.assert_allclose(load_file(tmp_path / "out")["logits"], forward[::-1], rtol=1e-5, atol=1e-6)


def narrowed(values: Any, name: str) -> Any:
    return values.astype(np.float16) if name.endswith("q_proj.weight") else values


def test_a_half_precision_tensor_is_widened(pytorch: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    half = {name: narrowed(values, name) for name, values in load_file(case.weights).items()}
    out = []
    for weights in (half, {name: values.astype(np.float32) for name, values in half.items()}):
        save_file(weights, tmp_path / "weights")
        assert load(pytorch, case, tmp_path / "weights").parameter_bytes == 4 * 21_696
        out.append(perform(pytorch, "infer", case.inputs, tmp_path / "out")["logits"])
    np.testing.assert_array_equal(*out)


def test_an_untied_output_projection_is_a_parameter_of_its_own(pytorch: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    tied = load_file(case.weights)
    save_file(tied | {"lm_head.weight": tied["model.embed_tokens.weight"]}, tmp_path / "untied")
    assert load(pytorch, case, tmp_path / "untied", tie_word_embeddings=False).parameters == 21_696 + 97 * 32
    untied = perform(pytorch, "train", case.inputs, tmp_path / "out")
    expected = load_file(case.expected)["grad.model.embed_tokens.weight"]
    both = untied["grad.model.embed_tokens.weight"] + untied["grad.lm_head.weight"]
    np.testing.assert_allclose(both, expected, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(RunnerRefused, match=r"`lm_head\.weight` is missing"):
        load(pytorch, case, tie_word_embeddings=False)


def spoiled(values: Any, spoil: float) -> Any:
    values = values.copy()
    values.flat[-1] = spoil
    return values


NORM = "model.norm.weight"
WEIGHTS: dict[str, tuple[Change, str]] = {
    "missing": (lambda w: {k: v for k, v in w.items() if k != NORM}, f"`{NORM}` is missing"),
    "shape": (lambda w: w | {NORM: w[NORM][:-1]}, f"`{NORM}` has shape [31], expected [32]"),
    "type": (lambda w: w | {NORM: w[NORM].astype(np.float64)}, f"`{NORM}` is F64"),
    "nan": (lambda w: w | {NORM: spoiled(w[NORM], np.nan)}, f"`{NORM}` has a value that is not finite"),
    "infinite": (lambda w: w | {NORM: spoiled(w[NORM], -np.inf)}, f"`{NORM}` has a value that is not finite"),
}


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS)
def test_wrong_weights_are_named_and_the_old_model_stays(
    pytorch: Session, tmp_path: Path, change: Change, words: str
) -> None:
    case = GOLDEN["llama-tiny"]
    load(pytorch, case)
    before = perform(pytorch, "infer", case.inputs, tmp_path / "out")["logits"]
    save_file(change(load_file(case.weights)), tmp_path / "weights")
    with pytest.raises(RunnerRefused) as caught:
        load(pytorch, case, tmp_path / "weights")
    assert caught.value.code == "invalid_weights"
    assert words in caught.value.message
    np.testing.assert_array_equal(perform(pytorch, "infer", case.inputs, tmp_path / "out")["logits"], before)


@pytest.mark.parametrize("kept", [0, 4, 1000, -4])
def test_a_truncated_weights_file_is_refused(pytorch: Session, tmp_path: Path, kept: int) -> None:
    case = GOLDEN["llama-tiny"]
    (tmp_path / "weights").write_bytes(case.weights.read_bytes()[:kept])
    with pytest.raises(RunnerRefused, match="cannot be read") as caught:
        load(pytorch, case, tmp_path / "weights")
    assert caught.value.code == "invalid_weights"


CONFIGS: list[tuple[str, dict[str, Any], str]] = [
    ("llama-tiny", {"sliding_window": 4}, "sliding_window"),
    ("llama-tiny", {"hidden_act": "square"}, "square"),
    ("llama-tiny", {"num_key_value_heads": 3}, "num_key_value_heads"),
    ("llama-tiny", {"head_dim": 7}, "head_dim"),
    ("llama-tiny", {"hidden_size": "32"}, "hidden_size"),
    ("llama-tiny", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
    ("llama-tiny", {"attention_dropout": 0.1}, "attention_dropout"),
    ("smolvla-expert-tiny", {"train_expert_only": True}, "train_expert_only"),
    ("smolvla-expert-tiny", {"chunk_size": None}, "chunk_size"),
    ("smolvla-expert-tiny", {"min_period": -1.0}, "min_period"),
    ("unet-tiny", {"class_embed_type": "timestep"}, "class_embed_type"),
    ("unet-tiny", {"mid_block_type": None}, "mid_block_type"),
    ("unet-tiny", {"down_block_types": ["FancyBlock2D"] * 2}, "FancyBlock2D"),
    ("unet-tiny", {"colour": 1}, "colour"),
    ("resnet-tiny", {"layer_type": "round"}, "round"),
    ("resnet-tiny", {"drop_path_rate": 0.1}, "drop_path_rate"),
    ("whisper-tiny-dims", {"encoder_layerdrop": 0.1}, "encoder_layerdrop"),
    ("whisper-tiny-dims", {"d_model": 30}, "divisible"),
    ("whisper-tiny-dims", {"num_hidden_layers": 7}, "num_hidden_layers"),
]


@pytest.mark.parametrize(("name", "config", "words"), CONFIGS, ids=lambda value: str(value)[:40])
def test_what_is_not_honoured_is_unsupported_by_name(
    pytorch: Session, name: str, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerRefused) as caught:
        load(pytorch, GOLDEN[name], **config)
    assert caught.value.code == "unsupported"
    assert words in caught.value.message


def test_other_backends_precisions_and_tasks_are_refused(pytorch: Session, reference: Session) -> None:
    case = GOLDEN["resnet-tiny"]
    for session, backend, precision in (
        (pytorch, "abacus", "f32"),
        (pytorch, "cpu", "f64"),
        (pytorch, "cpu", "f16"),
        (reference, "cpu", "f32"),
    ):
        with pytest.raises(RunnerRefused) as caught:
            session.load(case.model, case.weights, backend=backend, precision=precision)
        assert caught.value.code == "unsupported"
    load(pytorch, case)
    with pytest.raises(RunnerRefused, match="task `decode` of resnet"):
        pytorch.prepare("decode", case.inputs, TaskOptions(new_tokens=1))


INPUTS: list[tuple[str, TaskName, Change, str]] = [
    ("llama-tiny", "train", lambda i: {"input_ids": i["input_ids"]}, "`labels` is missing"),
    ("llama-tiny", "train", lambda i: {name: ids[:, :1].copy() for name, ids in i.items()}, "two positions"),
    ("llama-tiny", "infer", lambda i: i | {"input_ids": i["input_ids"] + 97}, "outside 0..97"),
    ("whisper-tiny-dims", "decode", lambda i: i, "positions of 16"),
    (
        "whisper-tiny-dims",
        "infer",
        lambda i: i | {"input_features": i["input_features"][..., :-2].copy()},
        "[2, 80, 48], expected [batch, 80, 50]",
    ),
    ("resnet-tiny", "train", lambda i: i | {"labels": i["labels"].astype(np.float32)}, "`labels` is float32"),
    ("unet-tiny", "infer", lambda i: i | {"timestep": i["timestep"][:1]}, "`timestep` has shape [1]"),
]


@pytest.mark.parametrize(("name", "task", "change", "words"), INPUTS, ids=lambda value: str(value)[:24])
def test_wrong_inputs_are_named(
    pytorch: Session, tmp_path: Path, name: str, task: TaskName, change: Change, words: str
) -> None:
    case = GOLDEN[name]
    load(pytorch, case)
    save_file(change(load_file(case.inputs)), tmp_path / "inputs")
    with pytest.raises(RunnerRefused) as caught:
        pytorch.prepare(task, tmp_path / "inputs", TaskOptions(new_tokens=16 if task == "decode" else None))
    assert caught.value.code == "invalid_inputs"
    assert words in caught.value.message


def test_an_optimizer_that_torch_refuses_is_a_wrong_request(pytorch: Session) -> None:
    case = GOLDEN["llama-tiny"]
    load(pytorch, case)
    wrong = AdamW(lr=1e-3, betas=(1.5, 0.9), eps=1e-8, weight_decay=0.0)
    with pytest.raises(RunnerRefused, match=r"options\.optimizer: .*beta") as caught:
        pytorch.prepare("step", case.inputs, TaskOptions(optimizer=wrong))
    assert caught.value.code == "invalid_request"


def test_describe_names_every_task_of_every_golden_case(pytorch: Session) -> None:
    described = json.loads(json.dumps(pytorch.description.architectures))
    for case in GOLDEN.values():
        assert {"infer", "train", "step"} <= set(described[case.model.architecture])
