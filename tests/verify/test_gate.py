"""The gate: what is right passes, and every way of being wrong that it is there for does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_py.contract.tensors import write_tensors
from arena_py.manifest import GateLimits
from arena_py.results.document import Verification
from arena_py.verify.gate import check, decide, reason, unverifiable
from arena_py.verify.norms import SMALL, compare

LIMITS = GateLimits(k=8.0, floor=1e-6)
NOISE = {"outputs": 4e-7, "loss": 1e-7, "gradients": 1e-6, "parameters": 1e-6}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, np.ndarray]:
    tensors = {"loss": np.array(4.5), "grad.a": normal(1, 7, 5), "grad.b": 1e-3 * normal(2, 5)}
    write_tensors(tmp_path / "expected.safetensors", tensors)
    return tensors


def verdict(folder: Path, outputs: dict[str, np.ndarray]):
    rounded = {n: a if a.dtype.kind == "i" else a.astype(np.float32) for n, a in outputs.items()}
    write_tensors(folder / "outputs.safetensors", rounded)
    return check(folder / "outputs.safetensors", folder / "expected.safetensors", NOISE, LIMITS)


def test_rounding_to_float32_passes_with_both_losses(tmp_path: Path, expected) -> None:
    result = verdict(tmp_path, expected)
    assert result.passed
    assert reason(result) is None
    assert (result.loss, result.reference_loss) == (4.5, 4.5)
    assert {tensor.name for tensor in result.tensors} == expected.keys()


def test_where_zeros_would_pass_nothing_can_be_verified(tmp_path: Path, expected) -> None:
    limits = GateLimits(k=4.0, floor=1e-4)
    noise = {"outputs": 0.0, "loss": 0.0, "gradients": 0.25}
    zeros = {name: np.zeros_like(tensor) for name, tensor in expected.items() if name != "loss"}
    write_tensors(tmp_path / "zeros.safetensors", {"loss": expected["loss"], **zeros})
    assert decide(compare(tmp_path / "zeros.safetensors", tmp_path / "expected.safetensors"), noise, limits).passed
    problem = unverifiable(noise, limits, "bf16")
    assert problem is not None
    assert "PyTorch's own error (gradients) is 0.25 there" in problem
    assert unverifiable(noise | {"gradients": 0.2499}, limits, "bf16") is None
    assert unverifiable(noise | {"gradients": float("nan")}, limits, "bf16") is not None
    assert unverifiable(NOISE, LIMITS, "f32") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("grad.b"), "'grad.b' is missing"),
        (lambda t: t.update({"grad.c": np.zeros(2)}), "'grad.c' was not asked for"),
        (lambda t: t.update({"grad.b": np.zeros((5, 1))}), r"shape \[5, 1\], expected \[5\]"),
        (lambda t: t.update({"grad.b": np.zeros(5, np.int64)}), "has type int64"),
        (lambda t: t.update({"grad.b": np.zeros(5)}), "grad.b: error"),
        (lambda t: t.update({"grad.b": t["grad.b"] * (1 + 2e-5)}), "grad.b: error"),
        (lambda t: t.update({"loss": np.array(4.5001)}), "loss: error"),
        (lambda t: t.update({"grad.a": t["grad.a"].astype(np.float16)}), "grad.a: error"),
        (lambda t: t.update({"grad.a": np.where(t["grad.a"] > 1, np.nan, t["grad.a"])}), "not finite"),
        (lambda t: t.update({"grad.a": np.where(t["grad.a"] > 1, np.inf, t["grad.a"])}), "not finite"),
        (lambda t: t.update({"grad.a": t["grad.a"][:, ::-1]}), "grad.a: error"),
    ],
)
def test_what_is_wrong_is_rejected_by_name(tmp_path: Path, expected, change, words: str) -> None:
    outputs = dict(expected)
    change(outputs)
    result = verdict(tmp_path, outputs)
    assert not result.passed
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(reason(result))


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([4.0, 3.0, 2.0], None),
        ([4.0, 3.0 + 1e-7, 2.0], None),
        ([4.0, 3.0001, 2.0], "loss.curve: error"),
        ([4.0, float("nan"), 2.0], "loss.curve: 1 elements are not finite"),
        ([4.0, 3.0], "2 losses, expected 3"),
        ([], "0 losses, expected 3"),
    ],
)
def test_a_curve_is_compared_whole(tmp_path: Path, expected, curve, words) -> None:
    write_tensors(tmp_path / "outputs.safetensors", {name: a.astype(np.float32) for name, a in expected.items()})
    files = tmp_path / "outputs.safetensors", tmp_path / "expected.safetensors"
    result = check(*files, NOISE, LIMITS, curve=curve, reference_curve=[4.0, 3.0, 2.0])
    assert result.passed == (words is None)
    assert words is None or words in reason(result)
    assert len(result.curve) == len(curve)
    assert result.reference_curve == [4.0, 3.0, 2.0]
    assert msgspec.json.decode(msgspec.json.encode(result), type=Verification) == result


def test_one_wrong_element_in_a_large_tensor_is_rejected(tmp_path: Path) -> None:
    large = normal(3, 1000, 300)
    write_tensors(tmp_path / "expected.safetensors", {"logits": large})
    changed = large.copy()
    changed[17, 4] += 0.01
    assert verdict(tmp_path, {"logits": large}).passed
    assert not verdict(tmp_path, {"logits": changed}).passed


def test_an_unreadable_or_absent_file_is_a_decision(tmp_path: Path, expected) -> None:
    (tmp_path / "outputs.safetensors").write_bytes(b"\xff" * 40)
    for name in ("outputs", "absent"):
        result = check(tmp_path / f"{name}.safetensors", tmp_path / "expected.safetensors", NOISE, LIMITS)
        assert not result.passed
        assert reason(result)


def test_ids_are_right_or_wrong(tmp_path: Path) -> None:
    tokens = np.arange(6).reshape(2, 3)
    write_tensors(tmp_path / "expected.safetensors", {"tokens": tokens})
    assert verdict(tmp_path, {"tokens": tokens}).passed
    assert not verdict(tmp_path, {"tokens": tokens + (tokens == 4)}).passed


def test_a_vanishing_gradient_is_measured_by_its_group(tmp_path: Path) -> None:
    # The bias in front of a normalisation: zero but for rounding, in the reference as in a right runner.
    tensors = {"grad.a": normal(1, 100), "grad.bias": 1e-17 * normal(2, 10)}
    write_tensors(tmp_path / "expected.safetensors", tensors)
    assert verdict(tmp_path, tensors | {"grad.bias": 1e-9 * normal(5, 10)}).passed
    assert not verdict(tmp_path, tensors | {"grad.bias": 1e-3 * SMALL * normal(5, 10) * 100}).passed


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(1e-6, 1e6), error=st.floats(0, 2), seed=st.integers(0, 99))
def test_the_norm_does_not_depend_on_scale(tmp_path_factory, scale: float, error: float, seed: int) -> None:
    folder = tmp_path_factory.mktemp("n")
    reference = scale * normal(seed, 40)
    noise = normal(seed + 1, 40)
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise)
    write_tensors(folder / "e.safetensors", {"x": reference})
    write_tensors(folder / "o.safetensors", {"x": reference + error * noise})
    (distance,) = compare(folder / "o.safetensors", folder / "e.safetensors").distances
    assert distance.error == pytest.approx(error, rel=1e-9, abs=1e-12)
