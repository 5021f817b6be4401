"""The optimizers of `step`, traced into the graph: parameters and moments in, parameters and moments out.

Their numbers are inputs, scalars in float64, so that one graph serves every learning rate; what torch computes with
Python's floats is computed in float64 here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from arena_py.frameworks.onnx.spec import AFTER

Tensors = Mapping[str, torch.Tensor]


def update(optimizer: str, parameters: Tensors, gradients: Tensors, state: Tensors) -> dict[str, torch.Tensor]:
    """`param.NAME` of every parameter after the step, and the new moments.

    Args:
        optimizer: `sgd` or `adamw`.
        parameters: those that are trained, before the step.
        gradients: of them, by the same names.
        state: scalars and moments.
    """
    return (_sgd if optimizer == "sgd" else _adamw)(parameters, gradients, state)


def _sgd(parameters: Tensors, gradients: Tensors, state: Tensors) -> dict[str, torch.Tensor]:
    """`torch.optim.SGD` without momentum."""
    lr = state["lr"].float()
    return {f"param.{name}": values - lr * gradients[name] for name, values in parameters.items()}


def _adamw(parameters: Tensors, gradients: Tensors, state: Tensors) -> dict[str, torch.Tensor]:
    """`torch.optim.AdamW` (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101, algorithm 2)."""
    time = state["time"] + 1.0
    beta1, beta2, lr = state["beta1"], state["beta2"], state["lr"]
    decay = (1.0 - lr * state["weight_decay"]).float()
    step = (lr / (1.0 - beta1**time)).float()
    scale = torch.sqrt(1.0 - beta2**time).float()
    toward, keep, add, eps = (1.0 - beta1).float(), beta2.float(), (1.0 - beta2).float(), state["eps"].float()
    after: dict[str, torch.Tensor] = {}
    for name, values in parameters.items():
        gradient, first = gradients[name], state[f"first.{name}"]
        first = first + (gradient - first) * toward
        second = state[f"second.{name}"] * keep + gradient * gradient * add
        after[f"param.{name}"] = values * decay - step * first / (torch.sqrt(second) / scale + eps)
        after[f"{AFTER}first.{name}"], after[f"{AFTER}second.{name}"] = first, second
    return after
