"""The updates of `step`, by PyTorch's definitions, as pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from arena_py.contract.adapter import RunnerError
from arena_py.contract.messages import Sgd

if TYPE_CHECKING:
    from arena_py.contract.messages import AdamW as AdamWOptions
    from arena_py.contract.messages import Optimizer as Options
    from arena_py.frameworks.arrays.ops import Array, Ops

    Tensors = dict[str, Array]


class Optimizer(Protocol):
    """An optimizer with its options."""

    slots: int
    """How many arrays of its shape it keeps for a parameter, zero at first."""

    def schedule(self, step: int) -> np.ndarray[Any, Any]:
        """What an update depends on besides gradients, in float32: known on the host, rounded once from float64.

        Args:
            step: 1 for the first.
        """

    def update(
        self, ops: Ops, schedule: Array, values: Tensors, gradients: Tensors, slots: list[Tensors]
    ) -> tuple[Tensors, list[Tensors]]:
        """Parameters and slots after the step."""


def optimizer(options: Options) -> Optimizer:
    """The optimizer of the options.

    Raises:
        RunnerError: `invalid_request` for a number that PyTorch refuses.
    """
    return PlainSgd(options.lr) if isinstance(options, Sgd) else AdamW(options)


def _require(name: str, value: float, *, below: float = math.inf) -> None:
    if not 0.0 <= value < below:
        raise RunnerError("invalid_request", f"options.optimizer: `{name}` = {value}")


class PlainSgd:
    """`torch.optim.SGD` without momentum."""

    slots = 0

    def __init__(self, lr: float) -> None:
        _require("lr", lr)
        self._lr = lr

    def schedule(self, step: int) -> np.ndarray[Any, Any]:  # noqa: ARG002 (does not depend on it)
        """Nothing."""
        return np.zeros(2, np.float32)

    def update(
        self,
        ops: Ops,  # noqa: ARG002 (needs nothing of it)
        schedule: Array,  # noqa: ARG002 (nor that)
        values: Tensors,
        gradients: Tensors,
        slots: list[Tensors],
    ) -> tuple[Tensors, list[Tensors]]:
        """`w - lr g`."""
        return {name: value - self._lr * gradients[name] for name, value in values.items()}, slots


class AdamW:
    """`torch.optim.AdamW` (https://arxiv.org/abs/1711.05101, algorithm 2)."""

    slots = 2

    def __init__(self, options: AdamWOptions) -> None:
        _require("lr", options.lr)
        _require("eps", options.eps)
        _require("weight_decay", options.weight_decay)
        for beta in options.betas:
            _require("betas", beta, below=1.0)
        self._options = options

    def schedule(self, step: int) -> np.ndarray[Any, Any]:
        """The step size, and what the root of the second average is divided by."""
        first, second = self._options.betas
        return np.array([self._options.lr / (1.0 - first**step), math.sqrt(1.0 - second**step)], np.float32)

    def update(
        self, ops: Ops, schedule: Array, values: Tensors, gradients: Tensors, slots: list[Tensors]
    ) -> tuple[Tensors, list[Tensors]]:
        """`w (1 - lr decay) - step_size m / (sqrt(v) / correction + eps)`."""
        c, (first, second) = self._options, self._options.betas
        means, squares, updated = {}, {}, {}
        for name, value in values.items():
            gradient = gradients[name]
            mean = first * slots[0][name] + (1.0 - first) * gradient
            square = second * slots[1][name] + (1.0 - second) * gradient * gradient
            size = schedule[0] * mean / (ops.xp.sqrt(square) / schedule[1] + c.eps)
            updated[name] = value * (1.0 - c.lr * c.weight_decay) - size
            means[name], squares[name] = mean, square
        return updated, [means, squares]
