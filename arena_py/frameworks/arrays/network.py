"""What a network is to the tasks, and where the network of each architecture is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from arena_py.architectures import Configuration
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters

NETWORKS = {
    "llama": "arena_py.frameworks.arrays.llama:Llama",
    "smolvla-expert": "arena_py.frameworks.arrays.smolvla_expert:SmolVlaExpert",
    "unet2d-condition": "arena_py.frameworks.arrays.unet2d_condition:UNet2DCondition",
    "resnet": "arena_py.frameworks.arrays.resnet:ResNet",
    "whisper": "arena_py.frameworks.arrays.whisper:Whisper",
}


class Network(Protocol):
    """An architecture with a configuration and the operations of a framework: pure functions."""

    output: str
    """The name of the output of `infer`."""

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """The output of `infer`."""

    def loss(self, output: Array, inputs: Batch) -> Array:
        """The loss of `train`."""


@runtime_checkable
class Decoder(Protocol):
    """A network that generates tokens with a key/value cache of fixed length."""

    prompt: str
    """The input that is continued."""

    def prefill(self, p: Parameters, inputs: Batch, length: int) -> tuple[Array, Any]:
        """Logits [B, V] after the prompt, and a cache with room for `length` tokens."""

    def extend(self, p: Parameters, token: Array, cache: Any, position: Array) -> tuple[Array, Any]:
        """Logits [B, V] after `token` [B, 1] at `position`, and the cache with it."""


def network(name: str, config: Configuration, ops: Ops) -> Network:
    """The network of an architecture.

    Raises:
        RunnerError: `unsupported` when the configuration asks for an operation that is not here.
    """
    module, _, attribute = NETWORKS[name].partition(":")
    make: Callable[[Any, Ops], Network] = getattr(import_module(module), attribute)
    return make(config, ops)
