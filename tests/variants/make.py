"""Make the cases in this folder: `python tests/variants/make.py [NAME...]`, with PyTorch's environment built.

Golden cases like those in `tests/golden`, of the configurations that the public models do not have: the same seeded
weights and inputs, and the same float64 reference, as `compare` uses.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arena_py.contract.messages import ModelSpec, TaskName, TaskOptions
from arena_py.contract.tensors import TensorFile, write_tensors
from arena_py.verify import generate
from arena_py.verify.canon import Canon
from arena_py.verify.exercise import Exercise
from arena_py.verify.norms import compare

HERE = Path(__file__).parent
CASES: dict[str, tuple[str, dict[str, int], dict[str, Any]]] = {
    "llama-untied-biases": (
        "llama",
        {"batch": 2, "seq": 9},
        {
            "vocab_size": 61,
            "hidden_size": 30,
            "intermediate_size": 44,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "head_dim": 10,
            "rms_norm_eps": 1e-6,
            "rope_theta": 5e5,
            "tie_word_embeddings": False,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "llama-one-key-padded": (
        "llama",
        {"batch": 2, "seq": 11},
        {
            "vocab_size": 23,
            "hidden_size": 36,
            "intermediate_size": 50,
            "num_hidden_layers": 1,
            "num_attention_heads": 6,
            "num_key_value_heads": 1,
            "head_dim": 14,
            "tie_word_embeddings": True,
            "pad_token_id": 13,
        },
    ),
    "smolvla-expert-period-3": (
        "smolvla-expert",
        {"batch": 2, "prefix": 5},
        {
            "hidden_size": 22,
            "intermediate_size": 40,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 6,
            "self_attn_every_n_layers": 3,
            "chunk_size": 4,
            "max_action_dim": 3,
        },
    ),
    "smolvla-expert-only-self": (
        "smolvla-expert",
        {"batch": 1, "prefix": 3},
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "head_dim": 10,
            "self_attn_every_n_layers": 1,
            "chunk_size": 7,
            "max_action_dim": 4,
            "min_period": 0.01,
            "max_period": 2.0,
        },
    ),
    "unet-three-levels": (
        "unet2d-condition",
        {"batch": 2, "height": 8, "width": 12, "seq": 3},
        {
            "in_channels": 3,
            "out_channels": 5,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "block_out_channels": [8, 12, 16],
            "time_embedding_dim": 12,
            "layers_per_block": 2,
            "cross_attention_dim": 10,
            "attention_head_dim": [2, 3, 4],
            "norm_num_groups": 4,
        },
    ),
    "unet-linear-projection": (
        "unet2d-condition",
        {"batch": 1, "height": 4, "width": 6, "seq": 2},
        {
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "block_out_channels": [8, 16],
            "layers_per_block": 1,
            "cross_attention_dim": 6,
            "attention_head_dim": 2,
            "norm_num_groups": 2,
            "norm_eps": 1e-4,
            "use_linear_projection": True,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
        },
    ),
    "resnet-basic": (
        "resnet",
        {"batch": 2, "size": 40},
        {
            "num_channels": 1,
            "embedding_size": 6,
            "hidden_sizes": [8, 12, 20],
            "depths": [2, 1, 2],
            "layer_type": "basic",
            "hidden_act": "relu",
            "downsample_in_first_stage": True,
            "num_labels": 7,
        },
    ),
    "resnet-downsample-in-bottleneck": (
        "resnet",
        {"batch": 3, "size": 45},
        {
            "num_channels": 3,
            "embedding_size": 8,
            "hidden_sizes": [16, 24],
            "depths": [1, 2],
            "layer_type": "bottleneck",
            "hidden_act": "relu",
            "downsample_in_bottleneck": True,
            "num_labels": 5,
        },
    ),
    "whisper-short-encoder-padded": (
        "whisper",
        {"batch": 2, "seq": 7},
        {
            "vocab_size": 19,
            "d_model": 24,
            "encoder_layers": 1,
            "decoder_layers": 3,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 6,
            "encoder_ffn_dim": 30,
            "decoder_ffn_dim": 52,
            "num_mel_bins": 20,
            "max_source_positions": 11,
            "max_target_positions": 14,
            "activation_function": "gelu",
            "tie_word_embeddings": True,
            "pad_token_id": 3,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
    ),
    "whisper-long-encoder-untied": (
        "whisper",
        {"batch": 1, "seq": 5},
        {
            "vocab_size": 37,
            "d_model": 20,
            "encoder_layers": 3,
            "decoder_layers": 1,
            "encoder_attention_heads": 5,
            "decoder_attention_heads": 1,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 28,
            "num_mel_bins": 12,
            "max_source_positions": 9,
            "max_target_positions": 12,
            "activation_function": "gelu",
            "tie_word_embeddings": False,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
    ),
}
"""Architecture, sizes and configuration of each."""
SEED = 11
TASKS: tuple[TaskName, ...] = ("infer", "train")


def main(names: list[str]) -> None:
    """Make them, or only those named."""
    with Canon(threads=1) as canon:
        for name in names or CASES:
            architecture, sizes, config = CASES[name]
            folder = HERE / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(canon, folder, architecture, sizes, config)
            print(f"{name}: {sum(path.stat().st_size for path in folder.iterdir()) / 1024:.0f} KiB")


def make(canon: Canon, folder: Path, architecture: str, sizes: dict[str, int], config: dict[str, Any]) -> None:
    """One case."""
    generate.weights(generate.Spec(architecture, config, {}, SEED), folder / "weights.safetensors")
    generate.inputs(generate.Spec(architecture, config, sizes, SEED), folder / "inputs.safetensors")
    _require_padding(config, folder / "inputs.safetensors")
    with tempfile.TemporaryDirectory() as scratch:
        exact, noise = {}, {}
        for task in TASKS:
            files = {runner: Path(scratch) / f"{runner}.safetensors" for runner in ("reference", "pytorch")}
            exercise = Exercise(
                model=ModelSpec(architecture, config),
                weights=folder / "weights.safetensors",
                task=task,
                options=TaskOptions(),
                inputs=folder / "inputs.safetensors",
                later_inputs=[],
            )
            canon.run("reference", exercise.on("cpu", "f64"), files["reference"])
            canon.run("pytorch", exercise, files["pytorch"])
            exact |= read(files["reference"])
            distances = compare(files["pytorch"], files["reference"]).distances
            noise |= {distance.name: distance.error for distance in distances}
    write_tensors(folder / "expected.safetensors", exact)
    output = next(tensor for tensor in exact if tensor != "loss" and not tensor.startswith("grad."))
    record = {
        "architecture": architecture,
        "config": config,
        "shapes": sizes,
        "float32_noise": {"max": max(noise.values()), output: noise[output]},
    }
    (folder / "config.json").write_text(json.dumps(record, indent=1) + "\n")


def read(path: Path) -> Mapping[str, np.ndarray[Any, Any]]:
    """Every tensor of a file."""
    with TensorFile(path) as file:
        return {name: file.read(name) for name in file.tensors}


def _require_padding(config: Mapping[str, Any], inputs: Path) -> None:
    """A case with padding must show what becomes of its gradient: some input has to be padding."""
    ids = next((values for name, values in read(inputs).items() if name.endswith("input_ids")), None)
    if config.get("pad_token_id") and (ids is None or config["pad_token_id"] not in ids):
        raise SystemExit(f"no input is the padding {config['pad_token_id']}: {ids}")


if __name__ == "__main__":
    main(sys.argv[1:])
