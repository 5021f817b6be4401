"""What the architectures are made of, without torch: strict configurations, the table of inputs, seeded values."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from arena_py.contract.adapter import RunnerError
from arena_py.models import config, define, seeded
from arena_py.models.inputs import Ids, InputSpec, Normal, Uniform, default_sizes, take

SPECS = (
    InputSpec("ids", ("batch", "seq"), Ids(10)),
    InputSpec("image", ("batch", 3, "seq"), Normal()),
    InputSpec("target", ("batch",), Normal(), training=True),
)


def arrays(**changes: Any) -> dict[str, Any]:
    whole = {
        "ids": np.zeros((2, 4), np.int64),
        "image": np.zeros((2, 3, 4), np.float32),
        "target": np.zeros(2, np.float32),
        "unrelated": np.zeros(1, np.float16),
    }
    return {name: array for name, array in (whole | changes).items() if array is not None}


def test_a_task_takes_what_it_names_and_learns_the_sizes() -> None:
    taken, sizes = take(SPECS, arrays(target=None), "infer")
    assert set(taken) == {"ids", "image"}
    assert sizes == {"batch": 2, "seq": 4}
    assert set(take(SPECS, arrays(), "train")[0]) == {"ids", "image", "target"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": None}, "input `ids` is missing"),
        ({"target": None}, "input `target` is missing"),
        ({"ids": np.zeros((2, 4), np.int32)}, "input `ids` is int32, expected int64"),
        ({"image": np.zeros((2, 3, 4))}, "input `image` is float64, expected float32"),
        ({"ids": np.zeros(2, np.int64)}, "input `ids` has shape [2], expected [batch, seq]"),
        ({"ids": np.zeros((2, 0), np.int64)}, "input `ids` has shape [2, 0], expected [batch, seq]"),
        ({"image": np.zeros((2, 4, 4), np.float32)}, "input `image` has shape [2, 4, 4], expected [2, 3, 4]"),
        ({"image": np.zeros((2, 3, 5), np.float32)}, "input `image` has shape [2, 3, 5], expected [2, 3, 4]"),
        ({"ids": np.array([[0, 1, 2, 3], [4, 10, 0, 0]])}, "input `ids`: id 10 at 5 is outside 0..10"),
        ({"ids": np.array([[0, 1, 2, -100]] * 2)}, "input `ids`: id -100 at 3 is outside 0..10"),
    ],
)
def test_inputs_that_do_not_fit_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerError, match=re.escape(words)) as caught:
        take(SPECS, arrays(**changes), "train")
    assert caught.value.code == "invalid_inputs"


def test_sizes_have_defaults_and_no_others() -> None:
    assert default_sizes("a", {"batch": 2}, {"batch": None, "seq": 7}) == {"batch": 2, "seq": 7}
    for given, words in (({}, "`batch` is missing"), ({"batch": 0}, "not a positive"), ({"colour": 1}, "`colour`")):
        with pytest.raises(RunnerError, match=words):
            default_sizes("a", given, {"batch": None})


def test_a_configuration_key_is_read_fixed_neutral_or_refused() -> None:
    rules: dict[str, Any] = {"keys": {"width", "depth"}, "fixed": {"dropout": 0.0}, "neutral": {"note"}}
    given = {"width": 3, "depth": None, "dropout": 0, "note": "x", "model_type": "y", "colour": None}
    assert config.honoured("a", given, **rules) == {"width": 3}
    for key, value in (("colour", 1), ("dropout", 0.1)):
        with pytest.raises(RunnerError, match=f"`{key}`") as caught:
            config.honoured("a", {key: value}, **rules)
        assert caught.value.code == "unsupported"


def test_both_spellings_of_the_rotary_base_are_read() -> None:
    assert config.rope_theta("a", {}, 5.0) == 5.0
    assert config.rope_theta("a", {"rope_theta": 7}, 5.0) == 7.0
    assert config.rope_theta("a", {"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}, 5.0) == 9.0
    for given in ({"rope_scaling": {"type": "linear", "factor": 2}}, {"rope_parameters": 3}, {"rope_theta": 0}):
        with pytest.raises(RunnerError):
            config.rope_theta("a", dict(given), 5.0)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(RunnerError, match="`perceptron`"):
        define("perceptron", {})


def test_seeded_values_depend_on_seed_and_name_alone() -> None:
    shape, distribution = (64, 32), seeded.parameter("a.weight", (64, 32))
    first = seeded.weights(0, "a.weight", shape, distribution)
    np.testing.assert_array_equal(first, seeded.weights(0, "a.weight", shape, distribution))
    for other in (seeded.weights(1, "a.weight", shape, distribution), seeded.weights(0, "b", shape, distribution)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1


def test_seeded_values_are_the_same_everywhere() -> None:
    """Fixed, since weights are cached by a recipe: a change here is a change of every seeded model."""
    values = seeded.weights(0, "model.norm.weight", (3,), seeded.NORM_WEIGHT)
    np.testing.assert_array_equal(values, np.float32([1.246739149093628, 0.8645195960998535, 1.0774519443511963]))


@pytest.mark.parametrize(
    ("name", "shape", "mean", "std"),
    [
        ("q_proj.weight", (256, 128), 0.0, 128**-0.5),
        ("conv.weight", (64, 16, 3, 3), 0.0, 144**-0.5),
        ("fc.bias", (4096,), 0.0, 0.1),
        ("norm.weight", (4096,), 1.0, 0.2),
    ],
)
def test_scales_keep_activations_in_range(name: str, shape: tuple[int, ...], mean: float, std: float) -> None:
    values = seeded.weights(3, name, shape, seeded.parameter(name, shape))
    assert values.dtype == np.float32
    assert abs(values.mean() - mean) < 0.02
    assert abs(values.std() / std - 1) < 0.05


def test_a_positive_distribution_is_positive() -> None:
    values = seeded.weights(0, "running_var", (10_000,), seeded.Distribution(1.0, 0.5, positive=True))
    assert 0.5 <= values.min() < 0.51
    assert 1.49 < values.max() <= 1.5


def test_seeded_inputs_are_in_range() -> None:
    sizes = {"batch": 100, "seq": 50}
    ids = seeded.inputs(0, InputSpec("i", ("batch", "seq"), Ids(7)), sizes)
    assert (ids.dtype, ids.shape, set(ids.ravel())) == (np.int64, (100, 50), set(range(7)))
    steps = seeded.inputs(0, InputSpec("t", ("batch",), Uniform(0.0, 1000.0, whole=True)), sizes)
    assert (steps == np.floor(steps)).all()
    assert 0 <= steps.min() < steps.max() < 1000
    noise = seeded.inputs(0, InputSpec("n", ("batch", "seq"), Normal()), sizes)
    assert noise.dtype == np.float32
    assert abs(noise.std() - 1) < 0.05
