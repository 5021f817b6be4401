"""`unet2d-condition`: the configuration of diffusers' `UNet2DConditionModel`, and its network in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from arena_py.architectures import unet2d_plan
from arena_py.architectures.parameter import Parameter
from arena_py.architectures.reading import refuse, require_even, typed
from arena_py.architectures.unet2d_plan import NAME, Depth, Plan
from arena_py.models import config as public
from arena_py.models.inputs import InputSpec, Normal, Uniform

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName

FIXED = {
    # Each of these asks for an input that the contract does not have.
    "class_embed_type": None,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "num_class_embeds": None,
    "time_cond_proj_dim": None,
    "projection_class_embeddings_input_dim": None,
    # diffusers refuses it.
    "num_attention_heads": None,
    # Nothing is dropped in evaluation mode, which every task here uses.
    "dropout": 0.0,
    # Half of the computation would stay in float32 in the reference.
    "upcast_attention": False,
    "time_embedding_type": "positional",
}
"""What no runner has, PyTorch's own included."""
SHIPPED = {"dual_cross_attention": False, "attention_type": "default", "class_embeddings_concat": False}
"""What only the library has."""
NEUTRAL = frozenset(
    {
        "sample_size",  # a default for the inputs
        # These reach none of the kinds of blocks below.
        "resnet_skip_time_act",
        "resnet_out_scale_factor",
        "mid_block_only_cross_attention",
        "cross_attention_norm",
        "addition_embed_type_num_heads",
    }
)
NULLABLE = frozenset({"mid_block_type", "norm_num_groups"})
"""Keys whose null is a choice, not an absence."""
TRAINING_STEPS = 1000
"""The number of time steps of Stable Diffusion's noise schedule."""
MAX_PERIOD = 10_000.0
"""Of the time embedding's angles."""
TRANSFORMER_GROUP_NORM_EPS = 1e-6
"""In front of every spatial transformer, whatever `norm_eps` says."""
LAYER_NORM_EPS = 1e-5
"""Inside every transformer block."""

Value = TypeVar("Value")
Activation = Literal["silu", "swish", "mish", "gelu", "relu"]


class UNet2DConditionConfig(msgspec.Struct, frozen=True):
    """The keys that change the numbers, with diffusers' defaults; a number stands for the same at every level."""

    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    down_block_types: tuple[Literal["CrossAttnDownBlock2D", "DownBlock2D"], ...] = (
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    )
    mid_block_type: Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"] = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[Literal["CrossAttnUpBlock2D", "UpBlock2D"], ...] = (
        "UpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
    )
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1.0
    act_fn: Activation = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    transformer_layers_per_block: int | tuple[Depth, ...] = 1
    reverse_transformer_layers_per_block: tuple[Depth, ...] | None = None
    attention_head_dim: int | tuple[int, ...] = 8
    """The *number* of heads: diffusers' name is a historical mistake that its configurations keep."""
    use_linear_projection: bool = False
    """Linear layers rather than 1x1 convolutions around a transformer: only the shape in the checkpoint differs."""
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    time_embedding_dim: int | None = None
    time_embedding_act_fn: Activation | None = None
    timestep_post_act: Activation | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> UNet2DConditionConfig:
        """Read the public configuration.

        Raises:
            RunnerError: `unsupported`, naming the key.
        """
        refuse_null(config)
        public.require_positive(NAME, {key: value for key, value in config.items() if value is not None}, *SIZES)
        whole = typed(cls, NAME, config, fixed=FIXED | SHIPPED, neutral=NEUTRAL)
        whole._check_levels()
        require_even(NAME, "block_out_channels[0]", whole.block_out_channels[0])
        for key in ("conv_in_kernel", "conv_out_kernel"):
            if getattr(whole, key) % 2 == 0:
                raise refuse(NAME, f"{key} {getattr(whole, key)} is not odd")
        if whole.downsample_padding not in (0, 1):
            raise refuse(NAME, f"downsample_padding {whole.downsample_padding} is not 0 or 1")
        whole._check_groups()
        return whole

    def _check_levels(self) -> None:
        levels = len(self.block_out_channels)
        for key in PER_LEVEL:
            values = getattr(self, key)
            if not isinstance(values, tuple):
                continue
            if len(values) != levels:
                raise refuse(NAME, f"{key} has {len(values)} entries, block_out_channels has {levels}")
            flat = [each for value in values for each in (value if isinstance(value, tuple) else (value,))]
            if any(isinstance(value, int) and not isinstance(value, bool) and value < 1 for value in flat):
                raise refuse(NAME, f"{key} {values} has an entry that is not positive")
        if not levels:
            raise refuse(NAME, "block_out_channels is empty")
        for level, heads in enumerate(self.heads()):
            if self.block_out_channels[level] < heads:
                raise refuse(NAME, f"attention_head_dim {heads} is more than the channels of its level")
        nested = any(isinstance(depth, tuple) for depth in self.depths())
        if nested and self.reverse_transformer_layers_per_block is None:
            raise refuse(NAME, "config key `reverse_transformer_layers_per_block` is missing")

    def _check_groups(self) -> None:
        groups = self.norm_num_groups
        for layer in self.plan().layers():
            for channels in (layer.resnet.source, layer.resnet.channels):
                if channels % groups:
                    raise refuse(NAME, f"{channels} channels are not a multiple of norm_num_groups {groups}")
        if self.block_out_channels[0] % groups:
            raise refuse(NAME, f"{self.block_out_channels[0]} channels are not a multiple of norm_num_groups {groups}")

    def per_level(self, value: Value | tuple[Value, ...]) -> tuple[Value, ...]:
        """One value a level, in order of the way down."""
        return value if isinstance(value, tuple) else (value,) * len(self.block_out_channels)

    def depths(self) -> tuple[Depth, ...]:
        """Transformer blocks of each level."""
        depths = self.transformer_layers_per_block
        return depths if isinstance(depths, tuple) else (depths,) * len(self.block_out_channels)

    def heads(self) -> tuple[int, ...]:
        """Attention heads of each level."""
        return self.per_level(self.attention_head_dim)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of every task."""
        return inputs(self.in_channels, self.out_channels, self.cross_attention_dim)

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Any size is possible."""

    @property
    def time_width(self) -> int:
        """Width of the time embedding after its two linear layers."""
        return self.time_embedding_dim or 4 * self.block_out_channels[0]

    def plan(self) -> Plan:
        """The network in the order of computation."""
        return unet2d_plan.plan(self)

    def parameters(self) -> list[Parameter]:
        """Every parameter, all of them trained."""
        return unet2d_plan.parameters(self)


SIZES = (
    "in_channels",
    "out_channels",
    "norm_num_groups",
    "cross_attention_dim",
    "time_embedding_dim",
    "conv_in_kernel",
    "conv_out_kernel",
)
PER_LEVEL = (
    "down_block_types",
    "up_block_types",
    "only_cross_attention",
    "block_out_channels",
    "layers_per_block",
    "transformer_layers_per_block",
    "reverse_transformer_layers_per_block",
    "attention_head_dim",
)
"""One entry a level where they are not one number."""


def refuse_null(config: Mapping[str, Any]) -> None:
    """Check that no key is null whose null is a choice.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    for key in sorted(NULLABLE & config.keys()):
        if config[key] is None:
            raise refuse(NAME, f"config key `{key}` = None is not supported")


def inputs(in_channels: int, out_channels: int, cross_attention_dim: int) -> tuple[InputSpec, ...]:
    """The inputs of every task."""
    image = ("height", "width")
    return (
        InputSpec("sample", ("batch", in_channels, *image), Normal()),
        InputSpec("timestep", ("batch",), Uniform(0.0, TRAINING_STEPS, whole=True)),
        InputSpec("encoder_hidden_states", ("batch", "seq", cross_attention_dim), Normal()),
        InputSpec("target", ("batch", out_channels, *image), Normal(), training=True),
    )
