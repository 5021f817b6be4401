"""The operations of JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from arena_py.frameworks.arrays.ops import Ops

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.ops import Array

PRODUCTS = {"f32": "highest", "tf32": "tensorfloat32"}
"""JAX's names of how exact a product is: XLA's default on a GPU is TF32."""


class JaxOps(Ops):
    """Channels last, kernels [..., I, O]: what XLA's convolutions on a CPU take without a transposition."""

    xp = jnp
    products: str = PRODUCTS["f32"]
    """How exact products are; those that the library takes by itself go by its configuration."""
    kernel_axes: ClassVar = {3: (2, 1, 0), 4: (2, 3, 1, 0)}

    def stop(self, x: Array) -> Array:
        """`x` without a gradient."""
        return lax.stop_gradient(x)

    def upper_half(self, x: Array) -> Array:
        """`x` with the lower 12 of its 24 significant bits cleared."""
        bits = lax.bitcast_convert_type(x, jnp.int32)
        return lax.bitcast_convert_type(bits & ~0xFFF, jnp.float32)

    def erf(self, x: Array) -> Array:
        """The error function."""
        return lax.erf(x)

    def sigmoid(self, x: Array) -> Array:
        """`1 / (1 + exp(-x))`."""
        return jax.nn.sigmoid(x)

    def logsumexp(self, x: Array) -> Array:
        """Over the last axis."""
        return jax.nn.logsumexp(x, axis=-1)

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """`x` [..., I] times `weight` [O, I] transposed, plus `bias` [O]."""
        y = jnp.einsum("...i,oi->...o", x, weight, precision=self.products)
        return y if bias is None else y + bias

    def conv(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        stride: int = 1,
        padding: Sequence[tuple[int, int]] | None = None,
    ) -> Array:
        """A convolution of `x` [B, W, I] or [B, H, W, I]; one of a single pixel is a matrix product."""
        spatial = kernel.shape[:-2]
        if max(spatial) == 1:
            for axis in range(1, x.ndim - 1):
                x = lax.slice_in_dim(x, 0, None, stride, axis)
            y = jnp.einsum("...i,io->...o", x, kernel.reshape(kernel.shape[-2:]), precision=self.products)
        else:
            sides = padding or [(size // 2, size // 2) for size in spatial]
            letters = "HW"[-len(spatial) :]
            layouts = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
            y = lax.conv_general_dilated(
                x, kernel, [stride] * len(spatial), sides, dimension_numbers=layouts, precision=self.products
            )
        return y if bias is None else y + bias

    def max_pool(self, x: Array) -> Array:
        """The greatest of 3x3 with stride 2 and padding 1, of `x` [B, H, W, C]."""
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1910.07467 over the last axis."""
        return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps) * weight

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """https://arxiv.org/abs/1607.06450 over the last axis."""
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + eps) * weight + bias

    def group_norm(self, x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
        """https://arxiv.org/abs/1803.08494 of `x` [B, ..., C], statistics over everything but batch and group."""
        grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
        centred = grouped - jnp.mean(grouped, axis=(1, 3), keepdims=True)
        normed = centred * lax.rsqrt(jnp.mean(jnp.square(centred), axis=(1, 3), keepdims=True) + eps)
        return self.affine(normed.reshape(x.shape), weight, bias)

    def attention(self, q: Array, k: Array, v: Array, mask: Array | str | None = None) -> Array:
        """`jax.nn.dot_product_attention`, which takes products in the precision of the configuration."""
        seen = None if mask is None or isinstance(mask, str) else mask[None, None]
        return jax.nn.dot_product_attention(q, k, v, mask=seen, is_causal=isinstance(mask, str))

    def write(self, cache: Array, new: Array, position: Array) -> Array:
        """`cache` [B, L, ...] with `new` [B, T, ...] from `position` on."""
        return lax.dynamic_update_slice_in_dim(cache, new, position, axis=1)
