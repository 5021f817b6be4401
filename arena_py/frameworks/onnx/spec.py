"""What the runner and the exporter tell each other."""

from __future__ import annotations

from typing import Any

import msgspec

from arena_py.contract.messages import ErrorCode, TaskName

SCALARS: dict[str, tuple[str, ...]] = {
    "sgd": ("lr",),
    "adamw": ("lr", "beta1", "beta2", "eps", "weight_decay", "time"),
}
"""The scalar inputs of each; `time` counts the steps that were done before."""
MOMENTS: dict[str, tuple[str, ...]] = {"sgd": (), "adamw": ("first", "second")}
"""What each keeps beside every parameter, `first.NAME` of its shape, zero at the beginning."""

AFTER = "next."
"""Before the name of a moment where it is an output."""


class GraphSpec(msgspec.Struct, frozen=True):
    """A graph to export: everything that it depends on but the versions of the exporter."""

    architecture: str
    config: dict[str, Any]
    task: TaskName
    shapes: dict[str, list[int]]
    """Of the task's inputs."""
    optimizer: str | None = None
    """Of `step`."""


class Graph(msgspec.Struct, frozen=True):
    """`graph.json`: the names in `graph.onnx`."""

    inputs: list[str]
    """The task's inputs, then the optimizer's scalars and moments."""
    stored: list[str]
    """The tensors of the checkpoint that it reads: initializers for `infer`, inputs for the others."""
    outputs: list[str]


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no graph."""

    code: ErrorCode
    message: str
