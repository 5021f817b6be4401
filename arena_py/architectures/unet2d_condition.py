"""`unet2d-condition`: the configuration of diffusers' `UNet2DConditionModel`, and its network in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from arena_py.architectures.parameter import Listing, Parameter
from arena_py.architectures.reading import refuse, require_even, typed
from arena_py.models import config as public
from arena_py.models.inputs import InputSpec, Normal, Uniform

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName

NAME = "unet2d-condition"
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
FEED_FORWARD_FACTOR = 4

Value = TypeVar("Value")
Activation = Literal["silu", "swish", "mish", "gelu", "relu"]


@dataclass(frozen=True)
class Resnet:
    """A residual block: `conv(act(norm(x)))` twice with the time embedding between, plus a shortcut, over `scale`."""

    name: str
    source: int
    """Channels in; where they are not `channels`, there is a 1x1 convolution `conv_shortcut`."""
    channels: int
    scale: float = 1.0


@dataclass(frozen=True)
class Transformer:
    """A spatial transformer: group norm, projection in, blocks over the pixels, projection out, residual."""

    name: str
    channels: int
    heads: int
    width: int
    """Of a head."""
    depth: int
    """Transformer blocks."""
    only_cross: bool
    """Whether its first attention attends to the condition, too."""

    @property
    def inner(self) -> int:
        """Channels between the projections."""
        return self.heads * self.width


@dataclass(frozen=True)
class Layer:
    """One residual block and the transformer behind it, if the level has any."""

    resnet: Resnet
    transformer: Transformer | None


@dataclass(frozen=True)
class Level:
    """One level on the way down or up.

    On the way down each layer's output is kept as a skip connection; on the way up the latest skip connection is
    appended to the channels of each residual block's input. `sampler` is the convolution that changes the resolution:
    with stride 2 on the way down (its output is kept, too), after doubling every pixel on the way up.
    """

    layers: tuple[Layer, ...]
    sampler: str | None
    channels: int


@dataclass(frozen=True)
class Plan:
    """The whole network in the order of computation, between `conv_in` and `conv_norm_out`, `conv_out`."""

    down: tuple[Level, ...]
    mid: tuple[Layer, ...]
    up: tuple[Level, ...]

    def layers(self) -> Iterator[Layer]:
        """Every layer."""
        for level in self.down:
            yield from level.layers
        yield from self.mid
        for level in self.up:
            yield from level.layers


Depth: TypeAlias = int | tuple[int, ...]
"""Transformer blocks of every transformer of a level, or of each of them."""


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
        nested = any(isinstance(depth, tuple) for depth in self._depths())
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

    def _per_level(self, value: Value | tuple[Value, ...]) -> tuple[Value, ...]:
        return value if isinstance(value, tuple) else (value,) * len(self.block_out_channels)

    def _depths(self) -> tuple[Depth, ...]:
        depths = self.transformer_layers_per_block
        return depths if isinstance(depths, tuple) else (depths,) * len(self.block_out_channels)

    def heads(self) -> tuple[int, ...]:
        """Attention heads of each level."""
        return self._per_level(self.attention_head_dim)

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
        channels, levels = self.block_out_channels, len(self.block_out_channels)
        only_cross = self._per_level(self.only_cross_attention)
        counts = self._per_level(self.layers_per_block)
        depths = self._depths()
        depths_up = self.reverse_transformer_layers_per_block or depths[::-1]

        def transformer(name: str, level: int, depth: Depth, index: int, cross: bool) -> Transformer:
            heads = self.heads()[level]
            if isinstance(depth, tuple):
                if index >= len(depth):
                    raise refuse(NAME, f"{name}: transformer_layers_per_block {depth} has no entry {index}")
                depth = depth[index]
            return Transformer(name, channels[level], heads, channels[level] // heads, depth, cross)

        down = []
        for level in range(levels):
            name, attends = f"down_blocks.{level}", self.down_block_types[level] == "CrossAttnDownBlock2D"
            layers = []
            for index in range(counts[level]):
                source = channels[max(level - 1, 0)] if index == 0 else channels[level]
                part = f"{name}.attentions.{index}"
                layers.append(
                    Layer(
                        Resnet(f"{name}.resnets.{index}", source, channels[level]),
                        transformer(part, level, depths[level], index, only_cross[level]) if attends else None,
                    )
                )
            sampler = f"{name}.downsamplers.0.conv" if level + 1 < levels else None
            down.append(Level(tuple(layers), sampler, channels[level]))
        deepest = levels - 1
        first, second = (
            Resnet(f"mid_block.resnets.{index}", channels[deepest], channels[deepest], self.mid_block_scale_factor)
            for index in range(2)
        )
        mid: tuple[Layer, ...] = (Layer(first, None),)
        if self.mid_block_type == "UNetMidBlock2DCrossAttn":
            middle = transformer("mid_block.attentions.0", deepest, depths[deepest], 0, False)
            mid = (Layer(first, middle), Layer(second, None))
        up = []
        for step in range(levels):
            level = deepest - step
            name, attends = f"up_blocks.{step}", self.up_block_types[step] == "CrossAttnUpBlock2D"
            layers = []
            for index in range(counts[level] + 1):
                source = channels[min(level + 1, deepest)] if index == 0 else channels[level]
                skip = channels[max(level - 1, 0)] if index == counts[level] else channels[level]
                part = f"{name}.attentions.{index}"
                layers.append(
                    Layer(
                        Resnet(f"{name}.resnets.{index}", source + skip, channels[level]),
                        transformer(part, level, depths_up[step], index, only_cross[level]) if attends else None,
                    )
                )
            sampler = f"{name}.upsamplers.0.conv" if level > 0 else None
            up.append(Level(tuple(layers), sampler, channels[level]))
        return Plan(tuple(down), mid, tuple(up))

    def parameters(self) -> list[Parameter]:
        """Every parameter, all of them trained."""
        first, time = self.block_out_channels[0], self.time_width
        plan, listing = self.plan(), Listing()
        listing.affine("conv_in", first, self.in_channels, self.conv_in_kernel, self.conv_in_kernel)
        listing.affine("time_embedding.linear_1", time, first)
        listing.affine("time_embedding.linear_2", time, time)
        for layer in plan.layers():
            self._resnet(listing, layer.resnet)
            if layer.transformer:
                self._transformer(listing, layer.transformer)
        for level in (*plan.down, *plan.up):
            if level.sampler:
                listing.affine(level.sampler, level.channels, level.channels, 3, 3)
        listing.affine("conv_norm_out", first)
        listing.affine("conv_out", self.out_channels, first, self.conv_out_kernel, self.conv_out_kernel)
        return listing

    def _resnet(self, listing: Listing, block: Resnet) -> None:
        factor = 2 if self.resnet_time_scale_shift == "scale_shift" else 1
        listing.affine(f"{block.name}.norm1", block.source)
        listing.affine(f"{block.name}.conv1", block.channels, block.source, 3, 3)
        listing.affine(f"{block.name}.time_emb_proj", factor * block.channels, self.time_width)
        listing.affine(f"{block.name}.norm2", block.channels)
        listing.affine(f"{block.name}.conv2", block.channels, block.channels, 3, 3)
        if block.source != block.channels:
            listing.affine(f"{block.name}.conv_shortcut", block.channels, block.source, 1, 1)

    def _transformer(self, listing: Listing, part: Transformer) -> None:
        name, inner, kernel = part.name, part.inner, () if self.use_linear_projection else (1, 1)
        listing.affine(f"{name}.norm", part.channels)
        listing.affine(f"{name}.proj_in", inner, part.channels, *kernel)
        for index in range(part.depth):
            block = f"{name}.transformer_blocks.{index}"
            for norm in ("norm1", "norm2", "norm3"):
                listing.affine(f"{block}.{norm}", inner)
            for attention, crosses in (("attn1", part.only_cross), ("attn2", True)):
                source = self.cross_attention_dim if crosses else inner
                listing.affine(f"{block}.{attention}.to_q", inner, inner, bias=False)
                listing.affine(f"{block}.{attention}.to_k", inner, source, bias=False)
                listing.affine(f"{block}.{attention}.to_v", inner, source, bias=False)
                listing.affine(f"{block}.{attention}.to_out.0", inner, inner)
            # The first half of the projection is gated by the second.
            listing.affine(f"{block}.ff.net.0.proj", 2 * FEED_FORWARD_FACTOR * inner, inner)
            listing.affine(f"{block}.ff.net.2", inner, FEED_FORWARD_FACTOR * inner)
        listing.affine(f"{name}.proj_out", part.channels, inner, *kernel)


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
