"""Operations for the architectures: a framework's own operations where it has them, compositions elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from arena_py.frameworks.arrays.activations import ACTIVATIONS

Array: TypeAlias = Any
"""An array of the framework."""
Parameters: TypeAlias = Mapping[str, Array]
"""By the names of the public checkpoint."""
Batch: TypeAlias = Mapping[str, Array]
"""Inputs by the names of the contract."""


class Ops(ABC):
    """Operations of one framework; `xp` is its module of array functions, whose names both frameworks share."""

    xp: Any
    kernel_axes: ClassVar[Mapping[int, tuple[int, ...]]]
    """How the framework wants convolution kernels, which a checkpoint stores as [O, I, W] and [O, I, H, W]."""

    def constant(self, values: np.ndarray[Any, Any]) -> Array:
        """An array that does not depend on any input; real values in float32."""
        return self.xp.array(values.astype(np.float32) if values.dtype == np.float64 else values)

    @abstractmethod
    def stop(self, x: Array) -> Array:
        """`x` without a gradient."""

    @abstractmethod
    def upper_half(self, x: Array) -> Array:
        """`x` with the lower 12 of its 24 significant bits cleared."""

    @abstractmethod
    def erf(self, x: Array) -> Array:
        """The error function."""

    @abstractmethod
    def sigmoid(self, x: Array) -> Array:
        """`1 / (1 + exp(-x))`."""

    @abstractmethod
    def logsumexp(self, x: Array) -> Array:
        """Over the last axis."""

    @abstractmethod
    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """`x` [..., I] times `weight` [O, I] transposed, plus `bias` [O]."""

    @abstractmethod
    def conv(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        stride: int = 1,
        padding: Sequence[tuple[int, int]] | None = None,
    ) -> Array:
        """A convolution of `x` [B, W, I] or [B, H, W, I].

        Args:
            x: the input.
            kernel: in the framework's layout (`kernel_axes`).
            bias: [O].
            stride: the same for every axis.
            padding: zeros before and after, one pair an axis; half the kernel on both sides when absent.
        """

    @abstractmethod
    def max_pool(self, x: Array) -> Array:
        """The greatest of 3x3 with stride 2 and padding 1, of `x` [B, H, W, C]."""

    @abstractmethod
    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1910.07467 over the last axis."""

    @abstractmethod
    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1607.06450 over the last axis."""

    @abstractmethod
    def group_norm(self, x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
        """https://arxiv.org/abs/1803.08494 of `x` [B, ..., C], statistics over everything but batch and group."""

    @abstractmethod
    def attention(self, q: Array, k: Array, v: Array, mask: Array | str | None = None) -> Array:
        """Scaled dot-product attention, every key head for as many query heads as there are more of those.

        Args:
            q: [B, T, H, E].
            k: [B, S, G, E].
            v: as `k`.
            mask: which keys are seen, broadcast to [T, S]; `"causal"`; or all when absent.

        Returns:
            [B, T, H, E].
        """

    @abstractmethod
    def write(self, cache: Array, new: Array, position: Array) -> Array:
        """`cache` [B, L, ...] with `new` [B, T, ...] from `position` on."""

    def activation(self, name: str, x: Array) -> Array:
        """The activation of that public name."""
        return ACTIVATIONS[name](self, x)

    def affine(self, x: Array, scale: Array, shift: Array) -> Array:
        """`x` [B, ..., C] times `scale` [C] plus `shift` [C]."""
        return x * scale + shift

    def embed(self, table: Array, ids: Array, pad: int | None = None) -> Array:
        """Rows of `table` [V, C]; the row `pad` gets no gradient (`torch.nn.Embedding`'s `padding_idx`)."""
        rows = self.xp.take(table, ids, axis=0)
        if pad is None:
            return rows
        return self.xp.where((ids == pad % table.shape[0])[..., None], self.stop(rows), rows)

    def heads(self, x: Array, width: int) -> Array:
        """[B, T, H * E] as [B, T, H, E]."""
        return x.reshape(*x.shape[:-1], -1, width)

    def merged(self, x: Array) -> Array:
        """[B, T, H, E] as [B, T, H * E]."""
        return x.reshape(*x.shape[:-2], -1)

    def channels_last(self, x: Array) -> Array:
        """[B, C, ...] as [B, ..., C]."""
        return self.xp.moveaxis(x, 1, -1)

    def channels_first(self, x: Array) -> Array:
        """[B, ..., C] as [B, C, ...]."""
        return self.xp.moveaxis(x, -1, 1)

    def padded(self, x: Array, length: int) -> Array:
        """[B, T, ...] with zeros after it up to [B, length, ...]."""
        return self.xp.pad(x, [(0, 0), (0, length - x.shape[1])] + [(0, 0)] * (x.ndim - 2))

    def resized(self, x: Array, height: int, width: int) -> Array:
        """The nearest pixels of `x` [B, H, W, C] (`torch.nn.functional.interpolate`)."""
        for axis, size in ((1, height), (2, width)):
            old = x.shape[axis]
            if size == 2 * old:
                x = self.xp.repeat(x, 2, axis=axis)
            elif size != old:
                nearest = np.floor(np.arange(size, dtype=np.float32) * np.float32(old / size)).astype(np.int32)
                x = self.xp.take(x, self.constant(np.minimum(nearest, old - 1)), axis=axis)
        return x

    def rotated(self, x: Array, angles: tuple[Array, Array]) -> Array:
        """Heads [B, T, H, E] rotated by cosine and sine [T, 1, E / 2].

        A pair is an element of the first half and the same of the second, as in transformers and lerobot.
        """
        cosine, sine = angles
        half = x.shape[-1] // 2
        first, second = x[..., :half], x[..., half:]
        return self.xp.concatenate((first * cosine - second * sine, second * cosine + first * sine), axis=-1)

    def turns(self, times: Array, per_time: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[Array, Array]:
        """Sine and cosine [B, N] of `2 pi * times * per_time`, where that product is a number of many turns.

        In float32 the product itself would round to a small part of the last turn only. So both factors are split into
        pieces of 12 bits, whose products are exact, and whole turns are dropped from each before they are added.

        Args:
            times: [B].
            per_time: turns for a unit of time, [N], in float64.
        """
        upper = self.upper_half(times)
        rest, pieces = per_time, []
        for _ in range(3):
            mantissa, exponent = np.frexp(rest)
            pieces.append(np.ldexp(np.trunc(np.ldexp(mantissa, 12)), exponent - 12))
            rest = rest - pieces[-1]
        total: Array = 0.0
        for part in (upper, times - upper):
            for piece in pieces:
                product = part[:, None] * self.constant(piece)
                total = total + (product - self.xp.floor(product))
        angles = (2.0 * np.pi) * (total - self.xp.round(total))
        return self.xp.sin(angles), self.xp.cos(angles)

    def cross_entropy(self, logits: Array, labels: Array) -> Array:
        """Mean over all positions of `logits` [..., V] against `labels` [...]."""
        chosen = self.xp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
        return self.xp.mean(self.logsumexp(logits) - chosen)

    def squared_error(self, output: Array, target: Array) -> Array:
        """Mean over all elements."""
        return self.xp.mean(self.xp.square(output - target))
