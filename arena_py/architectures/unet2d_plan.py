"""The network of `unet2d-condition` in the order of computation, and its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from arena_py.architectures.parameter import Listing, Parameter
from arena_py.architectures.reading import refuse

if TYPE_CHECKING:
    from arena_py.architectures.unet2d_condition import UNet2DConditionConfig

NAME = "unet2d-condition"
FEED_FORWARD_FACTOR = 4
Depth: TypeAlias = int | tuple[int, ...]
"""Transformer blocks of every transformer of a level, or of each of them."""


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


def plan(config: UNet2DConditionConfig) -> Plan:
    """The network in the order of computation."""
    channels, levels = config.block_out_channels, len(config.block_out_channels)
    only_cross = config.per_level(config.only_cross_attention)
    counts = config.per_level(config.layers_per_block)
    depths = config.depths()
    depths_up = config.reverse_transformer_layers_per_block or depths[::-1]

    def transformer(name: str, level: int, depth: Depth, index: int, cross: bool) -> Transformer:
        heads = config.heads()[level]
        if isinstance(depth, tuple):
            if index >= len(depth):
                raise refuse(NAME, f"{name}: transformer_layers_per_block {depth} has no entry {index}")
            depth = depth[index]
        return Transformer(name, channels[level], heads, channels[level] // heads, depth, cross)

    down = []
    for level in range(levels):
        name, attends = f"down_blocks.{level}", config.down_block_types[level] == "CrossAttnDownBlock2D"
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
        Resnet(f"mid_block.resnets.{index}", channels[deepest], channels[deepest], config.mid_block_scale_factor)
        for index in range(2)
    )
    mid: tuple[Layer, ...] = (Layer(first, None),)
    if config.mid_block_type == "UNetMidBlock2DCrossAttn":
        middle = transformer("mid_block.attentions.0", deepest, depths[deepest], 0, False)
        mid = (Layer(first, middle), Layer(second, None))
    up = []
    for step in range(levels):
        level = deepest - step
        name, attends = f"up_blocks.{step}", config.up_block_types[step] == "CrossAttnUpBlock2D"
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


def parameters(config: UNet2DConditionConfig) -> list[Parameter]:
    """Every parameter, all of them trained."""
    first, time = config.block_out_channels[0], config.time_width
    whole, listing = plan(config), Listing()
    listing.affine("conv_in", first, config.in_channels, config.conv_in_kernel, config.conv_in_kernel)
    listing.affine("time_embedding.linear_1", time, first)
    listing.affine("time_embedding.linear_2", time, time)
    for layer in whole.layers():
        _resnet(config, listing, layer.resnet)
        if layer.transformer:
            _transformer(config, listing, layer.transformer)
    for level in (*whole.down, *whole.up):
        if level.sampler:
            listing.affine(level.sampler, level.channels, level.channels, 3, 3)
    listing.affine("conv_norm_out", first)
    listing.affine("conv_out", config.out_channels, first, config.conv_out_kernel, config.conv_out_kernel)
    return listing


def _resnet(config: UNet2DConditionConfig, listing: Listing, block: Resnet) -> None:
    factor = 2 if config.resnet_time_scale_shift == "scale_shift" else 1
    listing.affine(f"{block.name}.norm1", block.source)
    listing.affine(f"{block.name}.conv1", block.channels, block.source, 3, 3)
    listing.affine(f"{block.name}.time_emb_proj", factor * block.channels, config.time_width)
    listing.affine(f"{block.name}.norm2", block.channels)
    listing.affine(f"{block.name}.conv2", block.channels, block.channels, 3, 3)
    if block.source != block.channels:
        listing.affine(f"{block.name}.conv_shortcut", block.channels, block.source, 1, 1)


def _transformer(config: UNet2DConditionConfig, listing: Listing, part: Transformer) -> None:
    name, inner, kernel = part.name, part.inner, () if config.use_linear_projection else (1, 1)
    listing.affine(f"{name}.norm", part.channels)
    listing.affine(f"{name}.proj_in", inner, part.channels, *kernel)
    for index in range(part.depth):
        block = f"{name}.transformer_blocks.{index}"
        for norm in ("norm1", "norm2", "norm3"):
            listing.affine(f"{block}.{norm}", inner)
        for attention, crosses in (("attn1", part.only_cross), ("attn2", True)):
            source = config.cross_attention_dim if crosses else inner
            listing.affine(f"{block}.{attention}.to_q", inner, inner, bias=False)
            listing.affine(f"{block}.{attention}.to_k", inner, source, bias=False)
            listing.affine(f"{block}.{attention}.to_v", inner, source, bias=False)
            listing.affine(f"{block}.{attention}.to_out.0", inner, inner)
        # The first half of the projection is gated by the second.
        listing.affine(f"{block}.ff.net.0.proj", 2 * FEED_FORWARD_FACTOR * inner, inner)
        listing.affine(f"{block}.ff.net.2", inner, FEED_FORWARD_FACTOR * inner)
    listing.affine(f"{name}.proj_out", part.channels, inner, *kernel)
