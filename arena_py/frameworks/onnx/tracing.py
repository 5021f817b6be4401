"""A task of a canonical module as one flat graph of aten operators, every tensor by its public name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from arena_py.frameworks.onnx import gradients, updates
from arena_py.frameworks.onnx.constants import changes, fold
from arena_py.frameworks.onnx.spec import MOMENTS, SCALARS
from arena_py.models.checkpoint import stored_tensors
from arena_py.models.inputs import named

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Architecture

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Traced:
    """The graph, with one input and one output a tensor."""

    graph: torch.fx.GraphModule
    inputs: dict[str, torch.Tensor]
    """Every input by name, in order, with memory that was never touched."""
    outputs: list[str]
    stored: list[str]
    """The inputs that are parameters or running statistics."""


class _Task(nn.Module):
    """The output, or the loss, as a module, so that `functional_call` can put tensors in the place of parameters."""

    def __init__(self, architecture: Architecture, module: nn.Module, *, loss: bool) -> None:
        super().__init__()
        self.module = module
        self.architecture = architecture
        self.loss = loss

    def forward(self, inputs: Tensors) -> torch.Tensor:
        output = self.architecture.forward(self.module, inputs)
        return self.architecture.loss(output, inputs) if self.loss else output


def trace(architecture: Architecture, task: TaskName, shapes: Mapping[str, list[int]], optimizer: str | None) -> Traced:
    """Trace a task for fixed shapes.

    Args:
        architecture: what is computed.
        task: `infer`, `train` or `step`.
        shapes: of the task's inputs.
        optimizer: of `step`.
    """
    with torch.device("meta"):
        module = architecture.build()
    architecture.complete(module, exact=False)
    _count_from_zero(module)
    stored = {name: torch.empty(values.shape) for name, values in stored_tensors(module)}
    trained = [name for name, _ in module.named_parameters() if name not in architecture.frozen]
    given = {
        spec.name: torch.zeros(shapes[spec.name], dtype=torch.int64 if spec.dtype.kind == "i" else torch.float32)
        for spec in named(architecture.inputs, task)
    }
    state: dict[str, torch.Tensor] = {}
    if optimizer is not None:
        state |= {name: torch.zeros((), dtype=torch.float64) for name in SCALARS[optimizer]}
        for moment in MOMENTS[optimizer]:
            state |= {f"{moment}.{name}": torch.empty(stored[name].shape) for name in trained}
    whole = _Task(architecture, module, loss=task != "infer")

    def call(parameters: Tensors, inputs: Tensors) -> torch.Tensor:
        renamed = {f"module.{name}": values for name, values in parameters.items()}
        # Tied names of a module share one tensor, and get it.
        result: torch.Tensor = torch.func.functional_call(whole, renamed, (inputs,), tie_weights=True)
        return result

    def compute(parameters: Tensors, inputs: Tensors, state: Tensors) -> dict[str, torch.Tensor]:
        if task == "infer":
            with torch.no_grad():
                return {architecture.output: call(parameters, inputs)}
        leaves = {name: parameters[name].detach().requires_grad_() for name in trained}
        loss = call({**parameters, **leaves}, inputs)
        # A parameter that the loss does not depend on has a gradient of zero.
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        computed = dict(zip(trained, found, strict=True))
        with torch.no_grad():
            if optimizer is None:
                after = {f"grad.{name}": values for name, values in computed.items()}
            else:
                after = updates.update(optimizer, {name: parameters[name] for name in trained}, computed, state)
        return {"loss": loss.detach(), **after}

    return _flat(compute, (stored, given, state), gradients.FORWARD if task == "infer" else gradients.TABLE)


def _flat(
    compute: Callable[..., dict[str, torch.Tensor]], groups: tuple[Tensors, ...], table: dict[Any, Any]
) -> Traced:
    """Trace a function of named tensors as one of a list of them."""
    names = [list(group) for group in groups]
    inputs = {name: values for group in groups for name, values in group.items()}
    outputs: list[str] = []

    def flat(*values: torch.Tensor) -> list[torch.Tensor]:
        left = iter(values)
        results = compute(*({name: next(left) for name in each} for each in names))
        outputs[:] = list(results)
        return list(results.values())

    # In its mathematical form attention is differentiated into operators that every table knows.
    with sdpa_kernel(SDPBackend.MATH):
        graph = make_fx(flat, decomposition_table=table, tracing_mode="fake", _allow_non_fake_inputs=True)(
            *inputs.values()
        )
    fold(graph)
    return Traced(_without_writing(graph, inputs), inputs, outputs, names[0])


def _without_writing(graph: torch.fx.GraphModule, inputs: Tensors) -> torch.fx.GraphModule:
    """The graph with operators that make a new tensor in the place of those that change one: ONNX has no others.

    Not while the modules are traced, since some look at the values of their masks then, which would not be known.
    """
    if not any(changes(node) for node in graph.graph.nodes):
        return graph
    return make_fx(torch.func.functionalize(graph), tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs.values())


def _count_from_zero(module: nn.Module) -> None:
    """Memory for counters that no checkpoint holds, such as a batch norm's number of batches."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and not buffer.is_floating_point():
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, torch.zeros(buffer.shape, dtype=buffer.dtype))
