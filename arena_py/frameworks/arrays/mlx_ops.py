"""The operations of MLX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import mlx.core as mx

from arena_py.frameworks.arrays.ops import Ops

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.ops import Array

NOTHING = float("-inf")
ROWS = 4096
"""Outputs of a matrix that are computed at once; only vocabularies have more."""
STAGE = 256
"""Terms that are added one by one before the sums of such groups are."""


class MlxOps(Ops):
    """Channels last, kernels [O, ..., I]: the layouts of MLX's convolutions."""

    xp = mx
    kernel_axes: ClassVar = {3: (0, 2, 1), 4: (0, 2, 3, 1)}

    def stop(self, x: Array) -> Array:
        """`x` without a gradient."""
        return mx.stop_gradient(x)

    def upper_half(self, x: Array) -> Array:
        """`x` with the lower 12 of its 24 significant bits cleared."""
        return mx.view(mx.view(x, mx.int32) & ~0xFFF, mx.float32)

    def erf(self, x: Array) -> Array:
        """The error function."""
        return mx.erf(x)

    def sigmoid(self, x: Array) -> Array:
        """`1 / (1 + exp(-x))`."""
        return mx.sigmoid(x)

    def logsumexp(self, x: Array) -> Array:
        """Over the last axis, the sum in two stages: `mx.logsumexp` adds a whole vocabulary one by one."""
        top = mx.stop_gradient(mx.max(x, axis=-1, keepdims=True))
        powers = mx.exp(x - top)
        if rest := -x.shape[-1] % STAGE:
            powers = mx.pad(powers, [(0, 0)] * (x.ndim - 1) + [(0, rest)])
        total = powers.reshape(*x.shape[:-1], -1, STAGE).sum(axis=-1).sum(axis=-1)
        return mx.log(total) + top[..., 0]

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """`x` [..., I] times `weight` [O, I] transposed, plus `bias` [O].

        The outputs of a vocabulary are computed in groups, so that the gradient of `x`, a sum over all of them, is
        added in stages: the BLAS that MLX brings for the CPU adds one by one.
        """
        if weight.shape[0] > ROWS:
            starts = range(0, weight.shape[0], ROWS)
            parts = [
                self.linear(x, weight[start : start + ROWS], None if bias is None else bias[start : start + ROWS])
                for start in starts
            ]
            return mx.concatenate(parts, axis=-1)
        return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)

    def conv(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        stride: int = 1,
        padding: Sequence[tuple[int, int]] | None = None,
    ) -> Array:
        """A convolution of `x` [B, W, I] or [B, H, W, I]; one of a single pixel is a matrix product."""
        spatial = kernel.shape[1:-1]
        if max(spatial) == 1:
            for axis in range(1, x.ndim - 1) if stride > 1 else ():
                x = x[tuple(slice(None, None, stride if each == axis else 1) for each in range(x.ndim))]
            return self.linear(x, kernel.reshape(kernel.shape[0], -1), bias)
        sides = padding or [(size // 2, size // 2) for size in spatial]
        low, high = ([side[end] for side in sides] for end in (0, 1))
        y = mx.conv_general(x, kernel, stride=stride, padding=(low, high))
        return y if bias is None else y + self._in_stages(bias, y)

    def affine(self, x: Array, scale: Array, shift: Array) -> Array:
        """`x` [B, ..., C] times `scale` [C] plus `shift` [C]."""
        return x * self._in_stages(scale, x) + self._in_stages(shift, x)

    def _in_stages(self, channels: Array, like: Array) -> Array:
        """A value a channel [C], spread over one axis after the other to [..., C] of `like` [B, ..., C].

        Its gradient is then summed in as many stages. MLX adds the rows of a long axis one by one, and the rounding of
        a single sum over all pixels comes near to what the gate allows.
        """
        for axis in range(like.ndim - 2, 0, -1):
            channels = mx.broadcast_to(channels, like.shape[axis:])
        return channels

    def max_pool(self, x: Array) -> Array:
        """The greatest of 3x3 with stride 2 and padding 1, of `x` [B, H, W, C].

        MLX has no pooling among its operations: the nine shifted views are compared, the first greatest wins, as in
        torch (`mx.maximum` gives the gradient of a tie to its second argument).
        """
        height, width = ((size + 1) // 2 for size in x.shape[1:3])
        x = mx.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=NOTHING)
        views = [
            x[:, row : row + 2 * height : 2, column : column + 2 * width : 2] for row in range(3) for column in range(3)
        ]
        greatest = views.pop()
        while views:
            greatest = mx.maximum(greatest, views.pop())
        return greatest

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1910.07467 over the last axis."""
        return mx.fast.rms_norm(x, weight, eps)

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1607.06450 over the last axis."""
        return mx.fast.layer_norm(x, weight, bias, eps)

    def group_norm(self, x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
        """https://arxiv.org/abs/1803.08494 of `x` [B, ..., C], as `mlx.nn.GroupNorm` in torch's order of channels."""
        batch, channels = x.shape[0], x.shape[-1]
        grouped = x.reshape(batch, -1, groups, channels // groups).transpose(0, 2, 1, 3)
        normed = mx.fast.layer_norm(grouped.reshape(batch, groups, -1), None, None, eps)
        normed = normed.reshape(batch, groups, -1, channels // groups).transpose(0, 2, 1, 3)
        return self.affine(normed.reshape(x.shape), weight, bias)

    def attention(self, q: Array, k: Array, v: Array, mask: Array | str | None = None) -> Array:
        """`mx.fast.scaled_dot_product_attention`, which has heads before positions."""
        q, k, v = (each.transpose(0, 2, 1, 3) for each in (q, k, v))
        attended = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return attended.transpose(0, 2, 1, 3)

    def write(self, cache: Array, new: Array, position: Array) -> Array:
        """`cache` [B, L, ...] with `new` [B, T, ...] from `position` on."""
        return mx.slice_update(cache, new, position.reshape(1), axes=(1,))
