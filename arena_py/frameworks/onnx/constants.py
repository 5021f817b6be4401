"""What a traced graph computes from nothing but constants: masks, positions, rotary angles."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

LARGEST = 1 << 20
"""Elements of a constant that is kept in the graph; larger ones, such as zeros to add into, are made in place."""


def fold(module: GraphModule) -> None:
    """Replace every operator whose inputs are all constant by its value, computed by torch.

    A transformers module computes its attention mask anew from shapes alone; ONNX Runtime folds some of the
    operators of that, and not others.
    """
    graph = module.graph
    written = _written_in_place(graph)
    values: dict[Node, Any] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            values[node] = getattr(module, str(node.target))
        elif (
            node.op == "call_function" and node not in written and all(each in values for each in node.all_input_nodes)
        ):
            value = _value(node, values)
            if value is not None:
                values[node] = value
    for index, node in enumerate(list(graph.nodes)):
        value = values.get(node)
        if node.op == "get_attr" or not isinstance(value, torch.Tensor):
            continue
        if all(user in values for user in node.users):
            continue  # only on the way to another constant
        name = f"_folded_{index}"
        module.register_buffer(name, value.clone(), persistent=False)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        constant.meta.update(node.meta)
        node.replace_all_uses_with(constant)
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()


def changes(node: Node) -> bool:
    """Whether an operator writes to one of its inputs."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _written_in_place(graph: torch.fx.Graph) -> set[Node]:
    """Nodes whose memory an operator changes, that operator, and what either is a view of or is seen through."""
    written: set[Node] = set()
    for node in reversed(graph.nodes):
        if changes(node) or node in written:
            written.add(node)
            written.update(node.all_input_nodes[:1])
    return written


def _value(node: Node, values: dict[Node, Any]) -> Any:
    fake = node.meta.get("val")
    if isinstance(fake, torch.Tensor) and fake.numel() > LARGEST:
        return None
    if node.target is not operator.getitem and not isinstance(node.target, torch._ops.OpOverload):
        return None
    arguments, keywords = torch.fx.map_arg((node.args, node.kwargs), lambda each: values[each])
    with torch.no_grad():
        return node.target(*arguments, **keywords)
