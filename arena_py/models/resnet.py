"""`resnet`: transformers' `ResNetForImageClassification`, batch-norm statistics frozen in every task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch.nn import functional
from transformers import ResNetConfig, ResNetForImageClassification

from arena_py.architectures import resnet
from arena_py.models import config as public
from arena_py.models import seeded
from arena_py.models.inputs import default_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch

RUNNING_VARIANCE = seeded.Distribution(1.0, 0.5, positive=True)
RUNNING_MEAN = seeded.Distribution(0.0, 0.2)
PUBLIC_SIZE = 224


class ResNet:
    """Image classifier: `pixel_values` -> `logits`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "resnet"
    output = "logits"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.public = resnet.ResNetConfig.parse(config)
        with public.configuring(self.name):
            self.config = ResNetConfig(**msgspec.structs.asdict(self.public))
        self.inputs = self.public.inputs

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """Batch and a square image."""
        sizes = default_sizes(self.name, given, {"batch": None, "size": PUBLIC_SIZE})
        return {"batch": sizes["batch"], "height": sizes["size"], "width": sizes["size"]}

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Pooling takes any size."""

    def build(self) -> torch.nn.Module:
        """`ResNetForImageClassification`; evaluation mode is what freezes the statistics."""
        with public.configuring(self.name):
            return ResNetForImageClassification(self.config).eval()

    def complete(self, module: torch.nn.Module, *, exact: bool) -> None:
        """Everything is stored."""

    def forward(self, module: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """Logits [B, K]."""
        logits: torch.Tensor = module(pixel_values=inputs["pixel_values"]).logits
        return logits

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """Mean cross entropy."""
        return functional.cross_entropy(output, inputs["labels"])

    def distribution(self, name: str, shape: tuple[int, ...]) -> seeded.Distribution:
        """Statistics as of normalised activations, the rest by the common rule."""
        if name.endswith(".running_var"):
            return RUNNING_VARIANCE
        if name.endswith(".running_mean"):
            return RUNNING_MEAN
        return seeded.parameter(name, shape)
