"""The architectures: the canonical torch module of each, its inputs, its loss, and seeded weights for it.

What an architecture is, is `architecture.py`; everything here needs the PyTorch environment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arena_py.models.architecture import Architecture

ARCHITECTURES = {
    "llama": "arena_py.models.llama:Llama",
    "smolvla-expert": "arena_py.models.smolvla_expert:SmolVlaExpert",
    "unet2d-condition": "arena_py.models.unet2d_condition:UNet2DCondition",
    "resnet": "arena_py.models.resnet:ResNet",
    "whisper": "arena_py.models.whisper:Whisper",
}
"""Name and place of each, so that only the one that is asked for is imported, with the library that it needs."""


def define(name: str, config: Mapping[str, Any]) -> Architecture:
    """The architecture called `name` with its public configuration.

    Raises:
        RunnerError: `unsupported` when there is none, or its configuration has a key or a value that is not honoured.
    """
    if name not in ARCHITECTURES:
        raise RunnerError("unsupported", f"architecture `{name}`, only {', '.join(ARCHITECTURES)}")
    module, _, attribute = ARCHITECTURES[name].partition(":")
    make: Callable[[Mapping[str, Any]], Architecture] = getattr(import_module(module), attribute)
    return make(config)
