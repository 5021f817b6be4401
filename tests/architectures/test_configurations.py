"""Typed configurations: what they name, what they count, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from arena_py.architectures import ARCHITECTURES, TASKS, read
from arena_py.contract.adapter import RunnerError
from arena_py.contract.tensors import TensorFile
from arena_py.manifest import model, models
from arena_py.verify.golden import GoldenCase, cases, default_folder

GOLDEN = {case.name: case for case in cases(default_folder())}


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_the_tensors_of_a_checkpoint_are_named(case: GoldenCase) -> None:
    parameters = read(case.model.architecture, case.model.config).parameters()
    with TensorFile(case.weights) as file, TensorFile(case.expected) as expected:
        assert {each.name: each.shape for each in parameters} == {name: i.shape for name, i in file.tensors.items()}
        trained = {each.name for each in parameters if each.trained}
        assert trained == {name.removeprefix("grad.") for name in expected.tensors if name.startswith("grad.")}


@pytest.mark.parametrize("name", models())
def test_every_model_has_as_many_parameters_as_its_manifest_says(name: str) -> None:
    file = model(name).file
    parameters = read(file.architecture, file.config).parameters()
    assert sum(each.elements for each in parameters if not each.statistic) == file.parameters


def test_every_architecture_has_tasks() -> None:
    assert TASKS.keys() == ARCHITECTURES.keys()


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama-tiny", {"sliding_window": 4}, "sliding_window"),
    ("llama-tiny", {"hidden_size": "32"}, "hidden_size"),
    ("llama-tiny", {"num_key_value_heads": 3}, "num_key_value_heads"),
    ("llama-tiny", {"num_attention_heads": 5}, "num_attention_heads"),
    ("llama-tiny", {"head_dim": 7}, "head_dim"),
    ("llama-tiny", {"pad_token_id": 97}, "pad_token_id"),
    ("llama-tiny", {"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling"),
    ("smolvla-expert-tiny", {"hidden_size": 25}, "hidden_size"),
    ("smolvla-expert-tiny", {"hidden_act": "gelu"}, "hidden_act"),
    ("smolvla-expert-tiny", {"self_attn_every_n_layers": 0}, "self_attn_every_n_layers"),
    ("smolvla-expert-tiny", {"max_period": float("inf")}, "max_period"),
    ("unet-tiny", {"norm_num_groups": None}, "norm_num_groups"),
    ("unet-tiny", {"norm_num_groups": 5}, "norm_num_groups"),
    ("unet-tiny", {"dual_cross_attention": True}, "dual_cross_attention"),
    ("unet-tiny", {"block_out_channels": [16]}, "block_out_channels"),
    ("unet-tiny", {"layers_per_block": [1, 0]}, "layers_per_block"),
    ("unet-tiny", {"attention_head_dim": 17}, "attention_head_dim"),
    ("unet-tiny", {"conv_in_kernel": 4}, "conv_in_kernel"),
    ("unet-tiny", {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "SimpleCrossAttn"),
    ("unet-tiny", {"transformer_layers_per_block": [[1], 1]}, "reverse_transformer_layers_per_block"),
    ("resnet-tiny", {"depths": [1]}, "depths"),
    ("resnet-tiny", {"depths": [1, 1, 0, 1]}, "without blocks"),
    ("resnet-tiny", {"hidden_sizes": [2, 4, 8, 16]}, "too narrow"),
    ("resnet-tiny", {"id2label": {"0": "cat"}}, "id2label"),
    ("whisper-tiny-dims", {"encoder_attention_heads": 5}, "encoder_attention_heads"),
    ("whisper-tiny-dims", {"rotary": True}, "rotary"),
]


@pytest.mark.parametrize(("name", "change", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_honoured_is_named(name: str, change: dict[str, Any], words: str) -> None:
    case = GOLDEN[name]
    with pytest.raises(RunnerError, match=words) as caught:
        read(case.model.architecture, case.model.config | change)
    assert caught.value.code == "unsupported"


def test_defaults_are_those_of_the_libraries() -> None:
    llama: Any = read("llama", {})
    assert (llama.head_dim, llama.num_key_value_heads, llama.rope_theta) == (128, 32, 10_000.0)
    resnet: Any = read("resnet", {"id2label": {"0": "a", "1": "b", "2": "c"}})
    assert (resnet.num_labels, resnet.depths) == (3, (3, 4, 6, 3))
    whisper: Any = read("whisper", {"pad_token_id": None})
    assert (whisper.pad_token_id, whisper.frames) == (None, 3000)
    unet: Any = read("unet2d-condition", {"cross_attention_dim": 768})
    assert sum(each.elements for each in unet.parameters()) == 859_520_964
