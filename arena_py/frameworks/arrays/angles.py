"""Angles that depend on positions alone, in float64 until they are constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.ops import Array, Ops


def rotary(ops: Ops, width: int, theta: float, first: int, count: int) -> tuple[Array, Array]:
    """Cosine and sine [count, 1, width / 2] of the rotary angles at `first`, `first + 1`, ...

    `position * theta^(-2i/width)`, Su et al., https://arxiv.org/abs/2104.09864.
    """
    frequencies = theta ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    angles: np.ndarray[Any, Any] = np.arange(first, first + count, dtype=np.float64)[:, None, None] * frequencies
    return ops.constant(np.cos(angles)), ops.constant(np.sin(angles))
