"""The first update of each optimizer in float64, and how far float32 may round it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from arena_py.contract.messages import AdamW, Sgd
from arena_py.verify.norms import SMALL

UNIT_ROUNDOFF = 2.0**-24
"""Of float32 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 2.1)."""

Real: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def updated(value: Real, gradient: Real, optimizer: Sgd | AdamW) -> Real:
    """One first step: torch.optim.SGD; torch.optim.AdamW, whose corrected moments are the gradient and its square."""
    if isinstance(optimizer, Sgd):
        return value - optimizer.lr * gradient
    decayed = value * (1 - optimizer.lr * optimizer.weight_decay)
    step: Real = optimizer.lr * gradient / (np.abs(gradient) + optimizer.eps)
    return decayed - step


def sensitivity(gradient: Real, optimizer: Sgd | AdamW) -> Real:
    """By how much each element of the first step moves with its gradient: the derivative of `updated`, unsigned."""
    if isinstance(optimizer, Sgd):
        return np.full_like(gradient, optimizer.lr)
    slope: Real = optimizer.lr * optimizer.eps / (np.abs(gradient) + optimizer.eps) ** 2
    return slope


def update_noise(
    steps: Mapping[str, tuple[Real, Real]],
    optimizer: Sgd | AdamW,
    gradient_noise: float,
    roundoff: float = UNIT_ROUNDOFF,
) -> dict[str, float]:
    """The error of each parameter after a first step that the precision cannot avoid, as `norms` takes it.

    A parameter is rounded once, and carries what its gradient's noise moves it by. The gradients' own noise is no
    measure of it: an update is a small part of a parameter, and a limit made from it would let a wrong one pass. Nor is
    the largest of all parameters: the steps of some are a thousandth of others'.

    Args:
        steps: of each parameter the gradient and the value after the step.
        optimizer: that made the step.
        gradient_noise: PyTorch's largest error of any gradient.
        roundoff: of the type that parameters are stored in.
    """
    gradient_floor = SMALL * _rms(*(gradient for gradient, _ in steps.values()))
    value_floor = SMALL * _rms(*(value for _, value in steps.values()))
    noise = {}
    for name, (gradient, value) in steps.items():
        moved = gradient_noise * max(_rms(gradient), gradient_floor) * _rms(sensitivity(gradient, optimizer))
        scale = max(_rms(value), value_floor)
        noise[name] = roundoff + (moved / scale if scale > 0 else 0.0)
    return noise


def _rms(*arrays: Real) -> float:
    count = sum(array.size for array in arrays)
    return math.sqrt(sum(float(np.vdot(array, array)) for array in arrays) / max(count, 1))
