"""What an architecture is before any framework computes it, shared by every Python runner; nothing here needs torch.

One module an architecture: its public configuration as a typed value, strictly read; the names and shapes of what its
checkpoint holds; its inputs and what must hold between them. The Rust runners have the same in `arena-runner`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arena_py.architectures.parameter import Parameter
    from arena_py.contract.messages import TaskName
    from arena_py.models.inputs import InputSpec

ARCHITECTURES = {
    "llama": "arena_py.architectures.llama:LlamaConfig",
    "smolvla-expert": "arena_py.architectures.smolvla_expert:SmolVlaExpertConfig",
    "unet2d-condition": "arena_py.architectures.unet2d_condition:UNet2DConditionConfig",
    "resnet": "arena_py.architectures.resnet:ResNetConfig",
    "whisper": "arena_py.architectures.whisper:WhisperConfig",
}
"""Name and place of each, so that only the one that is asked for is imported."""

TASKS: dict[str, list[TaskName]] = {
    "llama": ["infer", "decode", "train", "step"],
    "smolvla-expert": ["infer", "train", "step"],
    "unet2d-condition": ["infer", "train", "step"],
    "resnet": ["infer", "train", "step"],
    "whisper": ["infer", "decode", "train", "step"],
}
"""The tasks of the contract that each has."""


class Configuration(Protocol):
    """A public configuration that was read and checked."""

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of every task."""

    def parameters(self) -> list[Parameter]:
        """Every tensor that a checkpoint holds, tied ones once."""

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Check what no single input shows: that the sizes suit each other and the task.

        Raises:
            RunnerError: `invalid_inputs` when they do not.
        """


def read(name: str, config: Mapping[str, Any]) -> Configuration:
    """The configuration of the architecture called `name`.

    Raises:
        RunnerError: `unsupported` when there is none, or a key or a value is not honoured.
    """
    if name not in ARCHITECTURES:
        raise RunnerError("unsupported", f"architecture `{name}`, only {', '.join(ARCHITECTURES)}")
    module, _, attribute = ARCHITECTURES[name].partition(":")
    parse: Callable[[Mapping[str, Any]], Configuration] = getattr(import_module(module), attribute).parse
    return parse(config)
