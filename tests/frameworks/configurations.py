"""Configurations that the golden cases do not have: every switch of a public configuration at least once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from arena_py.architectures import read
from arena_py.architectures.parameter import Parameter
from arena_py.contract.messages import ModelSpec, TaskName
from arena_py.contract.writer import write_tensors
from arena_py.models import seeded

LLAMA: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SMOLVLA: dict[str, Any] = {
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 6,
    "self_attn_every_n_layers": 3,
    "chunk_size": 5,
    "max_action_dim": 3,
}
UNET: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
RESNET: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 1], "num_labels": 7}
WHISPER: dict[str, Any] = {
    "vocab_size": 53,
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 52,
    "num_mel_bins": 12,
    "max_source_positions": 11,
    "max_target_positions": 20,
    "pad_token_id": 3,
}


@dataclass(frozen=True)
class Case:
    """A configuration with sizes for its inputs."""

    architecture: str
    config: dict[str, Any]
    sizes: dict[str, int]
    tasks: tuple[TaskName, ...] = field(default=("infer", "train"))

    @property
    def model(self) -> ModelSpec:
        """As `load` wants it."""
        return ModelSpec(self.architecture, self.config)

    def write(self, folder: Path) -> None:
        """Seeded weights and two sets of inputs."""
        config = read(self.architecture, self.config)
        tensors = [
            (each.name, partial(seeded.weights, 5, each.name, each.shape, distribution(each)))
            for each in config.parameters()
        ]
        write_tensors(folder / "weights.safetensors", tensors)
        for seed, name in ((1, "inputs"), (2, "bound")):
            inputs = [(each.name, partial(seeded.inputs, seed, each, self.sizes)) for each in config.inputs]
            write_tensors(folder / f"{name}.safetensors", inputs)


def distribution(parameter: Parameter) -> seeded.Distribution:
    """Positive variances, embeddings that make logits, the rest by the common rule."""
    name = parameter.name
    if name.endswith("running_var"):
        return seeded.Distribution(1.0, 0.5, positive=True)
    if name.endswith(("embed_tokens.weight", "lm_head.weight", "proj_out.weight")) and len(parameter.shape) == 2:
        return seeded.embedding(parameter.shape)
    return seeded.parameter(name, parameter.shape)


def llama(tasks: tuple[TaskName, ...] = ("infer", "train"), **config: Any) -> Case:
    return Case("llama", LLAMA | config, {"batch": 3, "seq": 9}, tasks)


def smolvla(**config: Any) -> Case:
    return Case("smolvla-expert", SMOLVLA | config, {"batch": 2, "prefix": 4})


def unet(height: int = 8, width: int = 8, **config: Any) -> Case:
    sizes = {"batch": 2, "height": height, "width": width, "seq": 3}
    return Case("unet2d-condition", UNET | config, sizes)


def resnet(height: int = 40, width: int = 33, **config: Any) -> Case:
    return Case("resnet", RESNET | config, {"batch": 2, "height": height, "width": width})


def whisper(tasks: tuple[TaskName, ...] = ("infer", "train"), **config: Any) -> Case:
    return Case("whisper", WHISPER | config, {"batch": 2, "frames": 22, "seq": 6}, tasks)


DECODED: tuple[TaskName, ...] = ("infer", "train", "decode")
THREE_LEVELS: dict[str, Any] = {
    "block_out_channels": [8, 12, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
}

CASES = {
    "llama untied, as many key heads": llama(DECODED, tie_word_embeddings=False),
    "llama one key head, narrow heads, biases": llama(
        DECODED,
        num_key_value_heads=1,
        head_dim=10,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        hidden_act="gelu_pytorch_tanh",
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        pad_token_id=7,
    ),
    "llama relu, wide epsilon": llama(hidden_act="relu", rms_norm_eps=0.03, num_key_value_heads=2, pad_token_id=-1),
    "llama vocabulary of a public model": llama(("train",), vocab_size=49152, hidden_size=16),
    "smolvla period of 3": smolvla(),
    "smolvla one key head, every layer": smolvla(
        num_key_value_heads=1, self_attn_every_n_layers=1, min_period=0.02, max_period=9.0, rope_theta=50.0
    ),
    "unet three levels of two layers": unet(**THREE_LEVELS, layers_per_block=2, transformer_layers_per_block=[1, 2, 1]),
    "unet uneven layers, odd sizes, no padding": unet(
        10,
        6,
        **THREE_LEVELS,
        layers_per_block=[1, 2, 1],
        downsample_padding=0,
        attention_head_dim=[2, 4, 2],
        only_cross_attention=[False, True, False],
    ),
    "unet scale and shift, mish": unet(
        resnet_time_scale_shift="scale_shift",
        act_fn="mish",
        mid_block_scale_factor=1.5,
        time_embedding_dim=20,
        time_embedding_act_fn="gelu",
        timestep_post_act="relu",
        use_linear_projection=True,
        flip_sin_to_cos=False,
        freq_shift=1,
        center_input_sample=True,
        norm_eps=1e-3,
        resnet_out_scale_factor=2.0,
    ),
    "unet plain middle, wide kernels, heads that leave a rest": unet(
        mid_block_type="UNetMidBlock2D",
        conv_in_kernel=5,
        conv_out_kernel=1,
        attention_head_dim=3,
        in_channels=3,
        out_channels=2,
    ),
    "unet depths of each transformer": unet(
        transformer_layers_per_block=[[2], 1], reverse_transformer_layers_per_block=[1, [1, 2]]
    ),
    "resnet basic": resnet(layer_type="basic"),
    "resnet halved first, strides in front": resnet(
        downsample_in_first_stage=True, downsample_in_bottleneck=True, num_channels=2, hidden_act="leaky_relu"
    ),
    "resnet basic halved first, silu": resnet(layer_type="basic", downsample_in_first_stage=True, hidden_act="silu"),
    "whisper uneven depths": whisper(DECODED),
    "whisper untied, quick gelu, no padding": whisper(
        tie_word_embeddings=False, activation_function="quick_gelu", pad_token_id=None, decoder_layers=4
    ),
}
