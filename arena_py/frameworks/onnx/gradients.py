"""Gradients that have no lowering to ONNX, composed of operations that have one.

Each takes the arguments of the aten operator that it stands for. Convolution gradients stay convolutions and matrix
products: of the input a (transposed) convolution with the kernel, of the kernel one matrix product for each of its
positions between the output's gradient and the strided view of the input that this position saw.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions

from arena_py.contract.adapter import RunnerError

aten = torch.ops.aten

FEW_CHANNELS = 4
"""Input channels up to which a convolution is summed in parts, which costs one more pass over its output for each."""
LARGE_WINDOW = 25
"""Positions of the kernel (5x5) from which it is."""


def _lacking(operation: str) -> RunnerError:
    """What none of the architectures has; met all the same, it is no failure of the exporter."""
    return RunnerError("unsupported", f"{operation} has no lowering to ONNX here")


def convolution(  # noqa: PLR0917 (the operator's own order)
    gradient: Tensor,
    values: Tensor,
    kernel: Tensor,
    bias_sizes: Any,  # noqa: ARG001 (as above)
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],  # noqa: ARG001 (of transposed ones)
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`convolution_backward`: of the input, the kernel and the bias."""
    if transposed:
        raise _lacking("the gradient of a transposed convolution")
    axes = [0, *range(2, values.dim())]
    return (
        _of_input(gradient, values.shape, kernel, stride, padding, dilation, groups) if wanted[0] else None,
        _of_kernel(gradient, values, kernel.shape, stride, padding, dilation, groups) if wanted[1] else None,
        gradient.sum(axes) if wanted[2] else None,
    )


def _of_input(  # noqa: PLR0917 (a convolution has as many)
    gradient: Tensor,
    shape: Sequence[int],
    kernel: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    extents = kernel.shape[2:]
    if groups == 1 and set(stride) == {1}:
        if set(extents) == {1} and set(padding) == {0}:
            return (kernel.flatten(1).t() @ gradient.flatten(2)).reshape(shape)
        margin = [d * (k - 1) - p for d, k, p in zip(dilation, extents, padding, strict=True)]
        if min(margin) >= 0:
            mirrored = kernel.flip(list(range(2, kernel.dim()))).transpose(0, 1)
            zeros = [0] * len(extents)
            whole: Tensor = aten.convolution(gradient, mirrored, None, stride, margin, dilation, False, zeros, 1)
            return whole
    # How much of the input's end no position of the kernel reached.
    extra = [
        size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, out, s, p, d, k in zip(shape[2:], gradient.shape[2:], stride, padding, dilation, extents, strict=True)
    ]
    result: Tensor = aten.convolution(gradient, kernel, None, stride, padding, dilation, True, extra, groups)
    return result


def _of_kernel(  # noqa: PLR0917 (as above)
    gradient: Tensor,
    values: Tensor,
    shape: Sequence[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    batch, channels = gradient.shape[:2]
    if any(padding):
        values = aten.constant_pad_nd(values, [p for each in reversed(padding) for p in (each, each)], 0.0)
    above = gradient.reshape(batch, groups, channels // groups, -1)
    parts = []
    for offsets in itertools.product(*map(range, shape[2:])):
        seen = values
        for axis, (offset, out) in enumerate(zip(offsets, gradient.shape[2:], strict=True)):
            first = offset * dilation[axis]
            seen = aten.slice(seen, axis + 2, first, first + (out - 1) * stride[axis] + 1, stride[axis])
        product = above @ seen.reshape(batch, groups, values.shape[1] // groups, -1).transpose(-1, -2)
        parts.append(product.squeeze(0) if batch == 1 else product.sum(0))
    return torch.stack(parts, -1).reshape(list(shape))


def convolution_in_parts(  # noqa: PLR0917 (the operator's own order)
    values: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """`convolution`, where few channels have a large window as the sum of one convolution for each input channel.

    A shorter sum is rounded less, and gradients amplify what was rounded early. Such a convolution is usually the first
    of a network, so that everything depends on it; it reads its output once more for every channel but the first.
    """
    channels = kernel.shape[1]
    if transposed or groups != 1 or not 1 < channels <= FEW_CHANNELS or kernel[0, 0].numel() < LARGE_WINDOW:
        return NotImplemented  # The tracer keeps the operator.
    rest = stride, padding, dilation, False, output_padding, 1
    parts = zip(values.split(1, 1), kernel.split(1, 1), strict=True)
    total, *others = (aten.convolution(*part, bias if not i else None, *rest) for i, part in enumerate(parts))
    for each in others:
        total = total + each
    return total


def embedding(gradient: Tensor, ids: Tensor, rows: int, padding: int, by_frequency: bool) -> Tensor:
    """`embedding_dense_backward`: rows added up where ids repeat, in the order of the ids."""
    if by_frequency:
        raise _lacking("an embedding's gradient scaled by the frequency of ids")
    flat, index = gradient.reshape(-1, gradient.shape[-1]), ids.reshape(-1, 1)
    if padding >= 0:
        flat = flat.masked_fill(index == padding, 0.0)
    return flat.new_zeros(rows, flat.shape[1]).scatter_add(0, index.expand_as(flat), flat)


def slice_(  # noqa: PLR0917 (the operator's own order)
    gradient: Tensor,
    sizes: list[int],
    axis: int,
    start: int,
    end: int,
    step: int,
) -> Tensor:
    """`slice_backward`: zeros around the gradient."""
    axis %= len(sizes)
    start = start + sizes[axis] if start < 0 else min(start, sizes[axis])
    if step != 1:
        result: Tensor = aten.slice_scatter(gradient.new_zeros(sizes), gradient, axis, start, end, step)
        return result
    pad = [0] * (2 * (len(sizes) - axis))
    pad[-2:] = [start, sizes[axis] - start - gradient.shape[axis]]
    padded: Tensor = aten.constant_pad_nd(gradient, pad, 0.0)
    return padded


def max_pool2d(  # noqa: PLR0917 (the operator's own order)
    gradient: Tensor,
    values: Tensor,
    kernel: list[int],  # noqa: ARG001 (as above)
    stride: list[int],  # noqa: ARG001 (as above)
    padding: list[int],  # noqa: ARG001 (as above)
    dilation: list[int],  # noqa: ARG001 (as above)
    ceil: bool,  # noqa: ARG001 (as above)
    indices: Tensor,
) -> Tensor:
    """`max_pool2d_with_indices_backward`: windows overlap, so gradients add up where they took the same element."""
    planes = torch.zeros_like(values).flatten(2)
    return planes.scatter_add(2, indices.flatten(2), gradient.flatten(2)).reshape(values.shape)


def frozen_batch_norm(  # noqa: PLR0917 (the operator's own order)
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`native_batch_norm` in evaluation mode, which has no statistics of the batch to return."""
    if training:
        raise _lacking("batch norm over the batch's own statistics")
    normed = aten._native_batch_norm_legit_no_training(values, weight, bias, mean, variance, momentum, eps)[0]
    return normed, values.new_empty(0), values.new_empty(0)


def frozen_batch_norm_backward(  # noqa: PLR0917 (the operator's own order)
    gradient: Tensor,
    values: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    saved_mean: Tensor,  # noqa: ARG001 (of training)
    saved_scale: Tensor,  # noqa: ARG001 (as above)
    training: bool,
    eps: float,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`native_batch_norm_backward` in evaluation mode: an affine map of every channel."""
    if training:
        raise _lacking("batch norm over the batch's own statistics")
    shape, axes = [1, -1] + [1] * (values.dim() - 2), [0, *range(2, values.dim())]
    # In float64: an error of a channel's scale is the same in all of its elements, and does not average out.
    scale = 1.0 / torch.sqrt(variance.double() + eps)
    return (
        gradient * (weight * scale).float().reshape(shape) if wanted[0] else None,
        (gradient * (values - mean.reshape(shape))).sum(axes) * scale.float() if wanted[1] else None,
        gradient.sum(axes) if wanted[2] else None,
    )


def upsample_nearest2d(
    gradient: Tensor, output: list[int], sizes: list[int], scale_h: float | None = None, scale_w: float | None = None
) -> Tensor:
    """`upsample_nearest2d_backward`: sums over what each element became, pooled where all became equally many."""
    factors = [out // size for out, size in zip(output, sizes[2:], strict=True)]
    if all(out == size * factor for out, size, factor in zip(output, sizes[2:], factors, strict=True)):
        pooled: Tensor = aten.avg_pool2d(gradient, factors, factors)
        return pooled * (factors[0] * factors[1])
    chosen = [
        _nearest(out, size, scale, gradient)
        for out, size, scale in zip(output, sizes[2:], (scale_h, scale_w), strict=True)
    ]
    return chosen[0].t() @ gradient @ chosen[1]


def _nearest(out: int, size: int, scale: float | None, like: Tensor) -> Tensor:
    """[out, size], one where the output element is a copy of the input element."""
    step = size / out if scale is None else 1.0 / scale
    source = torch.tensor([min(int(index * step), size - 1) for index in range(out)])
    return (source[:, None] == torch.arange(size)).to(like.dtype)


def split(values: Tensor, size: int, axis: int = 0) -> list[Tensor]:
    """`split.Tensor` as slices: its own lowering makes a sequence of tensors, which is never optimised away."""
    return [aten.slice(values, axis, first, first + size) for first in range(0, values.shape[axis], size)]


def unbind(values: Tensor, axis: int = 0) -> list[Tensor]:
    """`unbind.int`, for the same reason."""
    return [aten.select(values, axis, index) for index in range(values.shape[axis])]


def safe_softmax(values: Tensor, axis: int, dtype: torch.dtype | None = None) -> Tensor:
    """`_safe_softmax` without its zeros for rows that are masked whole: there are none in these models."""
    result: Tensor = aten._softmax(values if dtype is None else values.to(dtype), axis, False)
    return result


OF_TORCH = (
    aten.rsub,
    aten.silu_backward,
    aten.gelu_backward,
    aten._softmax_backward_data,
    aten._log_softmax_backward_data,
    aten.nll_loss_forward,
    aten.nll_loss_backward,
    aten.mse_loss,
    aten.mse_loss_backward,
    aten.threshold_backward,
    aten.native_layer_norm_backward,
    aten.native_group_norm_backward,
    aten.select_backward,
    aten.tanh_backward,
    aten.sigmoid_backward,
    aten.hardtanh_backward,
    aten.elu_backward,
    aten.leaky_relu_backward,
    aten.hardswish_backward,
    aten.hardsigmoid_backward,
    aten.mish_backward,
    aten.softplus_backward,
    aten.log_sigmoid_backward,
)
"""Those that torch itself decomposes into what has a lowering."""

FORWARD: dict[Any, Callable[..., Any]] = {
    aten.split.Tensor: split,
    aten.unbind.int: unbind,
    aten._safe_softmax.default: safe_softmax,
}
"""Applied in every task."""

TABLE: dict[Any, Callable[..., Any]] = {
    **get_decompositions(OF_TORCH),
    **FORWARD,
    aten.convolution.default: convolution_in_parts,
    aten.convolution_backward.default: convolution,
    aten.embedding_dense_backward.default: embedding,
    aten.slice_backward.default: slice_,
    aten.max_pool2d_with_indices_backward.default: max_pool2d,
    aten.native_batch_norm.default: frozen_batch_norm,
    aten.native_batch_norm_backward.default: frozen_batch_norm_backward,
    aten.upsample_nearest2d_backward.default: upsample_nearest2d,
}
"""Applied where gradients are traced."""
