"""`unet2d-condition`: the denoiser of latent diffusion (https://arxiv.org/abs/2112.10752), as diffusers builds it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from arena_py.architectures.unet2d_condition import LAYER_NORM_EPS, MAX_PERIOD, TRANSFORMER_GROUP_NORM_EPS

if TYPE_CHECKING:
    from arena_py.architectures.unet2d_condition import Layer, Resnet, Transformer, UNet2DConditionConfig
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters


class UNet2DCondition:
    """`sample`, `timestep` and `encoder_hidden_states` -> `sample_out`."""

    output = "sample_out"

    def __init__(self, config: UNet2DConditionConfig, ops: Ops) -> None:
        self.config = config
        self.plan = config.plan()
        self.ops = ops

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """Predicted noise [B, C, H, W]."""
        context, time = inputs["encoder_hidden_states"], self._time(p, inputs["timestep"])
        x = self.ops.channels_last(inputs["sample"])
        if self.config.center_input_sample:
            x = 2.0 * x - 1.0
        x = self._conv(p, "conv_in", x)
        skips = [x]
        for level in self.plan.down:
            for layer in level.layers:
                x = self._layer(p, layer, x, time, context)
                skips.append(x)
            if level.sampler:
                x = self._halved(p, level.sampler, x)
                skips.append(x)
        for layer in self.plan.mid:
            x = self._layer(p, layer, x, time, context)
        for level in self.plan.up:
            for layer in level.layers:
                x = self._layer(p, layer, self.ops.xp.concatenate((x, skips.pop()), axis=-1), time, context)
            if level.sampler:  # to the size of what comes next, which is not twice as much where halving rounded
                x = self._conv(p, level.sampler, self.ops.resized(x, *skips[-1].shape[1:3]))
        x = self._act(self._group_norm(p, "conv_norm_out", x, self.config.norm_eps))
        return self.ops.channels_first(self._conv(p, "conv_out", x))

    def loss(self, output: Array, inputs: Batch) -> Array:
        """Mean squared error."""
        return self.ops.squared_error(output, inputs["target"])

    def _time(self, p: Parameters, timestep: Array) -> Array:
        """Angles `t * 10000^(-i / (d/2 - shift))`, and two linear layers: [B, time width]."""
        c, half = self.config, self.config.block_out_channels[0] // 2
        frequencies = np.exp(-math.log(MAX_PERIOD) * np.arange(half) / (half - c.freq_shift))
        sine, cosine = self.ops.turns(timestep, frequencies / (2.0 * math.pi))
        embedding = self.ops.xp.concatenate((cosine, sine) if c.flip_sin_to_cos else (sine, cosine), axis=-1)
        time = self._linear(
            p, "time_embedding.linear_2", self._act(self._linear(p, "time_embedding.linear_1", embedding))
        )
        for name in (c.timestep_post_act, c.time_embedding_act_fn):
            if name:
                time = self.ops.activation(name, time)
        return time

    def _layer(self, p: Parameters, layer: Layer, x: Array, time: Array, context: Array) -> Array:
        x = self._resnet(p, layer.resnet, x, time)
        return self._transformer(p, layer.transformer, x, context) if layer.transformer else x

    def _resnet(self, p: Parameters, block: Resnet, x: Array, time: Array) -> Array:
        name, eps = block.name, self.config.norm_eps
        y = self._conv(p, f"{name}.conv1", self._act(self._group_norm(p, f"{name}.norm1", x, eps)))
        shift = self._linear(p, f"{name}.time_emb_proj", self._act(time))[:, None, None]
        if self.config.resnet_time_scale_shift == "scale_shift":
            scale, shift = shift[..., : block.channels], shift[..., block.channels :]
            y = self._group_norm(p, f"{name}.norm2", y, eps) * (1.0 + scale) + shift
        else:
            y = self._group_norm(p, f"{name}.norm2", y + shift, eps)
        y = self._conv(p, f"{name}.conv2", self._act(y))
        if block.source != block.channels:
            x = self._conv(p, f"{name}.conv_shortcut", x)
        return x + y if block.scale == 1.0 else (x + y) / block.scale

    def _transformer(self, p: Parameters, part: Transformer, x: Array, context: Array) -> Array:
        """Attention between pixels and to the condition."""
        normed = self._group_norm(p, f"{part.name}.norm", x, TRANSFORMER_GROUP_NORM_EPS)
        batch, height, width, channels = x.shape
        y = self._projected(p, f"{part.name}.proj_in", normed.reshape(batch, height * width, channels))
        for index in range(part.depth):
            name = f"{part.name}.transformer_blocks.{index}"
            normed = self._layer_norm(p, f"{name}.norm1", y)
            y = y + self._attention(p, f"{name}.attn1", part, normed, context if part.only_cross else normed)
            y = y + self._attention(p, f"{name}.attn2", part, self._layer_norm(p, f"{name}.norm2", y), context)
            y = y + self._feed_forward(p, f"{name}.ff.net", self._layer_norm(p, f"{name}.norm3", y))
        return x + self._projected(p, f"{part.name}.proj_out", y).reshape(x.shape)

    def _attention(self, p: Parameters, name: str, part: Transformer, x: Array, source: Array) -> Array:
        q = self.ops.heads(self._linear(p, f"{name}.to_q", x), part.width)
        k = self.ops.heads(self._linear(p, f"{name}.to_k", source), part.width)
        v = self.ops.heads(self._linear(p, f"{name}.to_v", source), part.width)
        return self._linear(p, f"{name}.to_out.0", self.ops.merged(self.ops.attention(q, k, v)))

    def _feed_forward(self, p: Parameters, name: str, x: Array) -> Array:
        """https://arxiv.org/abs/2002.05202: the first half of the projection is gated by the second."""
        inner = self._linear(p, f"{name}.0.proj", x)
        half = inner.shape[-1] // 2
        return self._linear(p, f"{name}.2", inner[..., :half] * self.ops.activation("gelu", inner[..., half:]))

    def _halved(self, p: Parameters, name: str, x: Array) -> Array:
        padding = self.config.downsample_padding
        # Without padding diffusers adds a row and a column at the end.
        sides = (padding, padding) if padding else (0, 1)
        return self.ops.conv(x, p[f"{name}.weight"], p[f"{name}.bias"], 2, (sides, sides))

    def _projected(self, p: Parameters, name: str, x: Array) -> Array:
        """A linear layer, or a 1x1 convolution of pixels, which is the same."""
        if self.config.use_linear_projection:
            return self._linear(p, name, x)
        return self._conv(p, name, x[:, None])[:, 0]

    def _act(self, x: Array) -> Array:
        return self.ops.activation(self.config.act_fn, x)

    def _group_norm(self, p: Parameters, name: str, x: Array, eps: float) -> Array:
        return self.ops.group_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], self.config.norm_num_groups, eps)

    def _layer_norm(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], LAYER_NORM_EPS)

    def _conv(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.conv(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def _linear(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
