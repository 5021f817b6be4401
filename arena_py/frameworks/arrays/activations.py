"""The activations that public configurations name, as in transformers' `ACT2FN`; gradients at kinks are torch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.ops import Array, Ops

SOFTPLUS_LINEAR_ABOVE = 20.0
"""`torch.nn.Softplus`'s threshold."""


def require_known(architecture: str, *names: str | None) -> None:
    """Check that every activation is one of those here.

    Raises:
        RunnerError: `unsupported`, naming the one that is not.
    """
    for name in names:
        if name is not None and name not in ACTIVATIONS:
            raise RunnerError("unsupported", f"{architecture}: activation `{name}`, only {', '.join(ACTIVATIONS)}")


def _gelu(ops: Ops, x: Array) -> Array:
    """https://arxiv.org/abs/1606.08415, exact."""
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


def _gelu_tanh(ops: Ops, x: Array) -> Array:
    """The same by its approximation through a hyperbolic tangent."""
    return 0.5 * x * (1.0 + ops.xp.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def _gelu_10(ops: Ops, x: Array) -> Array:
    return _between(ops, _gelu(ops, x), -10.0, 10.0)


def _relu(ops: Ops, x: Array) -> Array:
    return ops.xp.where(x > 0, x, 0.0)


def _between(ops: Ops, x: Array, low: float, high: float) -> Array:
    return ops.xp.where(x < low, low, ops.xp.where(x > high, high, x))


def _relu6(ops: Ops, x: Array) -> Array:
    return _between(ops, _relu(ops, x), 0.0, 6.0)


def _leaky_relu(ops: Ops, x: Array) -> Array:
    return ops.xp.where(x > 0, x, 0.01 * x)


def _hardswish(ops: Ops, x: Array) -> Array:
    return x * _relu6(ops, x + 3.0) / 6.0


def _softplus(ops: Ops, x: Array) -> Array:
    linear = x > SOFTPLUS_LINEAR_ABOVE
    return ops.xp.where(linear, x, ops.xp.log1p(ops.xp.exp(ops.xp.where(linear, 0.0, x))))


def _mish(ops: Ops, x: Array) -> Array:
    """https://arxiv.org/abs/1908.08681."""
    return x * ops.xp.tanh(_softplus(ops, x))


def _silu(ops: Ops, x: Array) -> Array:
    return x * ops.sigmoid(x)


def _laplace(ops: Ops, x: Array) -> Array:
    """https://arxiv.org/abs/2209.10655, with its two constants."""
    return 0.5 * (1.0 + ops.erf((x - 0.707107) / (0.282095 * math.sqrt(2.0))))


ACTIVATIONS: Mapping[str, Callable[[Ops, Any], Any]] = {
    "gelu": _gelu,
    "gelu_10": _gelu_10,
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": _gelu,
    "gelu_python_tanh": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "hardswish": _hardswish,
    "laplace": _laplace,
    "leaky_relu": _leaky_relu,
    "linear": lambda _, x: x,
    "mish": _mish,
    "quick_gelu": lambda ops, x: x * ops.sigmoid(1.702 * x),
    "relu": _relu,
    "relu2": lambda ops, x: ops.xp.square(_relu(ops, x)),
    "relu6": _relu6,
    "sigmoid": lambda ops, x: ops.sigmoid(x),
    "silu": _silu,
    "sqrtsoftplus": lambda ops, x: ops.xp.sqrt(_softplus(ops, x)),
    "swish": _silu,
    "tanh": lambda ops, x: ops.xp.tanh(x),
}
