"""`resnet`: the configuration of transformers' `ResNetForImageClassification`, and its convolutions in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from arena_py.architectures.parameter import Listing, Parameter
from arena_py.architectures.reading import keys_of, refuse
from arena_py.models import config as public
from arena_py.models.inputs import Ids, InputSpec, Normal

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName

NAME = "resnet"
FIXED: dict[str, Any] = {}
NEUTRAL = frozenset({"label2id", "problem_type", "out_features", "out_indices", "stage_names", "use_cache"})
REDUCTION = 4
"""How much narrower the inner convolutions of a bottleneck are."""
BATCH_NORM_EPS = 1e-5
"""`torch.nn.BatchNorm2d`'s default, which the configuration cannot set."""


@dataclass(frozen=True)
class ConvLayer:
    """A convolution without bias, padded by half its kernel, its batch norm, and perhaps an activation."""

    name: str
    source: int
    """Input channels."""
    channels: int
    kernel: int
    stride: int
    activation: str | None


@dataclass(frozen=True)
class Block:
    """`activation(layers(x) + shortcut(x))`; without a shortcut it is the identity."""

    layers: tuple[ConvLayer, ...]
    shortcut: ConvLayer | None

    @property
    def convolutions(self) -> tuple[ConvLayer, ...]:
        """All of them."""
        return (self.shortcut, *self.layers) if self.shortcut else self.layers


class ResNetConfig(msgspec.Struct, frozen=True):
    """The keys that change the numbers, with transformers' defaults."""

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    layer_type: Literal["basic", "bottleneck"] = "bottleneck"
    hidden_act: str = "relu"
    """After the stem and after each block; inside a block it is always `relu`."""
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False
    """Whether the first instead of the second convolution of a bottleneck has the stride."""
    num_labels: int = 2

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> ResNetConfig:
        """Read the public configuration.

        Raises:
            RunnerError: `unsupported`, naming the key.
        """
        read = public.honoured(NAME, config, keys=KEYS, fixed=FIXED, neutral=NEUTRAL)
        public.require_positive(NAME, read, "num_channels", "embedding_size", "num_labels")
        names = read.pop("id2label", None)
        if isinstance(names, dict) and names:
            if read.setdefault("num_labels", len(names)) != len(names):
                raise refuse(NAME, f"num_labels {read['num_labels']} is not the length of id2label, {len(names)}")
        elif names is not None:
            raise refuse(NAME, f"config key `id2label` = {names!r} is not supported")
        with public.configuring(NAME):
            whole = msgspec.convert(read, cls)
        if not whole.hidden_sizes or len(whole.hidden_sizes) != len(whole.depths):
            raise refuse(NAME, f"hidden_sizes {whole.hidden_sizes} and depths {whole.depths} are not one a stage")
        if min(whole.depths) < 1:
            raise refuse(NAME, f"depths {whole.depths} has a stage without blocks")
        if min(whole.hidden_sizes) < (REDUCTION if whole.layer_type == "bottleneck" else 1):
            raise refuse(NAME, f"hidden_sizes {whole.hidden_sizes} are too narrow")
        return whole

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of every task."""
        return (
            InputSpec("pixel_values", ("batch", self.num_channels, "height", "width"), Normal()),
            InputSpec("labels", ("batch",), Ids(self.num_labels), training=True),
        )

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Pooling takes any size."""

    def stem(self) -> ConvLayer:
        """The first convolution; a max-pooling of 3x3, stride 2, padding 1 follows it."""
        return ConvLayer("resnet.embedder.embedder", self.num_channels, self.embedding_size, 7, 2, self.hidden_act)

    def blocks(self) -> Iterator[Block]:
        """Every block, in order."""
        source = self.embedding_size
        for stage, (channels, depth) in enumerate(zip(self.hidden_sizes, self.depths, strict=True)):
            for index in range(depth):
                halves = index == 0 and (stage > 0 or self.downsample_in_first_stage)
                name = f"resnet.encoder.stages.{stage}.layers.{index}"
                yield self._block(name, source, channels, 2 if halves else 1)
                source = channels

    def _block(self, name: str, source: int, channels: int, stride: int) -> Block:
        inner = channels // REDUCTION
        first, second = (stride, 1) if self.downsample_in_bottleneck else (1, stride)
        shapes = (  # channels, kernel, stride
            [(channels, 3, stride), (channels, 3, 1)]
            if self.layer_type == "basic"
            else [(inner, 1, first), (inner, 3, second), (channels, 1, 1)]
        )
        sources = [source, *(width for width, _, _ in shapes)]
        activations = ["relu"] * (len(shapes) - 1) + [None]
        layers = tuple(
            ConvLayer(f"{name}.layer.{index}", sources[index], *shape, activations[index])
            for index, shape in enumerate(shapes)
        )
        projected = source != channels or stride != 1
        shortcut = ConvLayer(f"{name}.shortcut", source, channels, 1, stride, None) if projected else None
        return Block(layers, shortcut)

    def parameters(self) -> list[Parameter]:
        """Every tensor of the checkpoint; the running statistics are frozen."""
        listing = Listing()
        for layer in (self.stem(), *(layer for block in self.blocks() for layer in block.convolutions)):
            listing.add(f"{layer.name}.convolution.weight", layer.channels, layer.source, layer.kernel, layer.kernel)
            listing.affine(f"{layer.name}.normalization", layer.channels)
            for kind in ("running_mean", "running_var"):
                name = f"{layer.name}.normalization.{kind}"
                listing.append(Parameter(name, (layer.channels,), trained=False, statistic=True))
        listing.affine("classifier.1", self.num_labels, self.hidden_sizes[-1])
        return listing


KEYS = keys_of(ResNetConfig) | {"id2label"}
