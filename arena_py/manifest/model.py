"""A model: an architecture with a configuration, where its weights come from, and its cases."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias

import msgspec

from arena_py.contract.messages import AdamW, Optimizer, Positive, Sgd, TaskName, TaskOptions
from arena_py.errors import ArenaError
from arena_py.manifest import toml

CaseTask: TypeAlias = Literal["infer", "latency", "decode", "train", "step"]
"""The tasks of the contract, and `latency`: `infer` on the smallest input."""


class ShapeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Input shapes with a name (`b1s128`), and the tasks that run on them."""

    name: toml.Name
    tasks: list[CaseTask]
    sizes: dict[str, Positive]
    """The architecture's own size names: `batch`, `seq`, ..."""
    new_tokens: Positive = 32
    """For `decode`."""
    steps: Positive = 20
    """For `step`: on how many batches the loss curve and the parameters after it are verified."""
    samples_per_execution: Positive | None = None
    """What throughput counts (tokens, images, denoising steps) in one execution; the batch when absent."""
    unit: str = "item"
    """What it counts: `token`, `image`, `action chunk`."""


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifests/models/NAME.toml`."""

    architecture: str
    title: str
    parameters: Positive
    """Scalar parameters, tied ones once; checked against the weights."""
    config: dict[str, Any]
    shapes: list[ShapeSpec]
    weights: str = "seeded"
    """`seeded`, a path to a safetensors file, or `hub:OWNER/NAME`."""
    seed: int = 0
    optimizer: Sgd | AdamW = AdamW(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    """For `step`."""


class Case(msgspec.Struct, frozen=True):
    """A model, a task and input shapes: `smollm2-135m/infer/b1s128`."""

    model: Model
    task: CaseTask
    shape: ShapeSpec

    @property
    def name(self) -> str:
        """`MODEL/TASK/SHAPE`."""
        return f"{self.model.name}/{self.task}/{self.shape.name}"

    @property
    def contract_task(self) -> TaskName:
        """The task in the contract's words."""
        return "infer" if self.task == "latency" else self.task

    @property
    def options(self) -> TaskOptions:
        """The options of `prepare`."""
        if self.task == "decode":
            return TaskOptions(new_tokens=self.shape.new_tokens)
        if self.task == "step":
            return TaskOptions(optimizer=self.model.file.optimizer)
        return TaskOptions()

    @property
    def units_per_execution(self) -> int:
        """What throughput counts in one execution."""
        batch = self.shape.sizes.get("batch", 1)
        if self.task == "decode":
            return batch * self.shape.new_tokens
        return self.shape.samples_per_execution or batch


class Model(msgspec.Struct, frozen=True):
    """A model by name."""

    name: str
    file: ModelFile

    @property
    def cases(self) -> list[Case]:
        """Every case of the manifest, in its order."""
        return [Case(self, task, shape) for shape in self.file.shapes for task in shape.tasks]


def models() -> list[str]:
    """The names of all models."""
    return toml.names("models")


@cache
def model(name: str) -> Model:
    """The model called `name`, or of the manifest at that path.

    Raises:
        ArenaError: unknown, or its manifest is wrong.
    """
    path = toml.find("models", name)
    return Model(path.stem, toml.read(path, ModelFile))


def case(name: str) -> Case:
    """The case called `name`, `MODEL/TASK/SHAPE`.

    Raises:
        ArenaError: the model is unknown, or has no such case; the hint lists those that it has.
    """
    cases = model(name.partition("/")[0]).cases
    for each in cases:
        if each.name == name:
            return each
    raise ArenaError(f"unknown case: {name}", hint=f"known: {', '.join(each.name for each in cases)}")


__all__ = ["Case", "CaseTask", "Model", "ModelFile", "Optimizer", "ShapeSpec", "case", "model", "models"]
