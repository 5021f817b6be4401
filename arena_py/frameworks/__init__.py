"""The Python frameworks, each a runner behind the contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from arena_py.contract.adapter import Framework

FRAMEWORKS = {
    "jax": "arena_py.frameworks.jax:Jax",
    "lowered": "arena_py.frameworks.lowered:Lowered",
    "mlx": "arena_py.frameworks.mlx:Mlx",
    "llama-cpp": "arena_py.frameworks.llamacpp:LlamaCpp",
    "onnxruntime": "arena_py.frameworks.onnxruntime:OnnxRuntime",
    "pytorch": "arena_py.frameworks.pytorch:PyTorch",
    "reference": "arena_py.frameworks.reference:Reference",
    "wrong": "arena_py.frameworks.wrong:Wrong",
}
"""Name and place of each, so that only the one that is asked for is imported."""


def framework(name: str) -> Framework:
    """The framework called `name`, not loaded with anything.

    Raises:
        KeyError: there is none.
    """
    module, _, attribute = FRAMEWORKS[name].partition(":")
    make: Callable[[], Framework] = getattr(import_module(module), attribute)
    return make()
