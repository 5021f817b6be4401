"""Matrix products of less precision than their tensors say, forward and backward, for the mistakes of precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCTS = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "linear",
    "matmul",
    "conv",
    "scaled_dot_product",
)
"""Parts of the names of aten's operators that multiply matrices, whole or inside of them, gradients included."""
TF32_DROPPED_BITS = 13
"""float32 has 23 bits of fraction, TF32 10."""


def to_tf32(values: torch.Tensor) -> torch.Tensor:
    """The nearest number with 10 bits of fraction, ties away from zero as NVIDIA's `cvt.rna.tf32.f32` has it."""
    half, mask = 1 << (TF32_DROPPED_BITS - 1), ~((1 << TF32_DROPPED_BITS) - 1)
    bits = values.detach().contiguous().view(torch.int32)
    return ((bits + half) & mask).view(torch.float32)


def through(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """There and back."""

    def rounded(values: torch.Tensor) -> torch.Tensor:
        return values.to(dtype).to(values.dtype)

    return rounded


class Rounded(TorchDispatchMode):
    """While entered, matrix products round what they read, and what they write where `results` says so.

    Args:
        round_: from a float32 tensor to its rounded values.
        results: whether results are rounded, too.
    """

    def __init__(self, round_: Callable[[torch.Tensor], torch.Tensor], *, results: bool) -> None:
        super().__init__()
        self._round = round_
        self._results = results

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every operator that is executed comes through here, below autograd."""
        name = func.overloadpacket.__name__
        if not any(part in name for part in PRODUCTS):
            return func(*args, **(kwargs or {}))
        args, kwargs = pytree.tree_map_only(torch.Tensor, self._rounded, (args, kwargs or {}))
        result = func(*args, **kwargs)
        return pytree.tree_map_only(torch.Tensor, self._rounded, result) if self._results else result

    def _rounded(self, values: torch.Tensor) -> torch.Tensor:
        return self._round(values) if values.dtype == torch.float32 else values
