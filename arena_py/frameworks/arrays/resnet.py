"""`resnet`: residual convolutions (https://arxiv.org/abs/1512.03385) with frozen batch-norm statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arena_py.architectures.resnet import BATCH_NORM_EPS
from arena_py.frameworks.arrays.activations import require_known

if TYPE_CHECKING:
    from arena_py.architectures.resnet import ConvLayer, ResNetConfig
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters


class ResNet:
    """`pixel_values` -> `logits`."""

    output = "logits"

    def __init__(self, config: ResNetConfig, ops: Ops) -> None:
        require_known("resnet", config.hidden_act)
        self.config = config
        self.ops = ops

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """Logits [B, K]."""
        x = self._convolved(p, self.config.stem(), self.ops.channels_last(inputs["pixel_values"]))
        x = self.ops.max_pool(x)
        for block in self.config.blocks():
            y = x
            for layer in block.layers:
                y = self._convolved(p, layer, y)
            shortcut = self._convolved(p, block.shortcut, x) if block.shortcut else x
            x = self.ops.activation(self.config.hidden_act, y + shortcut)
        pooled = self.ops.xp.mean(x, axis=(1, 2))
        return self.ops.linear(pooled, p["classifier.1.weight"], p["classifier.1.bias"])

    def loss(self, output: Array, inputs: Batch) -> Array:
        """Mean cross entropy."""
        return self.ops.cross_entropy(output, inputs["labels"])

    def _convolved(self, p: Parameters, layer: ConvLayer, x: Array) -> Array:
        """A convolution and its batch norm: normalised, then scaled, so that the gradient of the scale cancels less."""
        x = self.ops.conv(x, p[f"{layer.name}.convolution.weight"], stride=layer.stride)
        mean, variance, weight, bias = (
            p[f"{layer.name}.normalization.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        normed = (x - mean) * (1.0 / self.ops.xp.sqrt(variance + BATCH_NORM_EPS))
        x = self.ops.affine(normed, weight, bias)
        return self.ops.activation(layer.activation, x) if layer.activation else x
