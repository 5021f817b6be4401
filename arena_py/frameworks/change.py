"""One mistake as a change of PyTorch's runner: what all of them override."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arena_py.contract.adapter import Program
    from arena_py.frameworks.pytorch import TorchModel


class Change:
    """No change at all: what every mistake overrides in one place."""

    def scope(self) -> AbstractContextManager[Any]:
        """In force while the model is loaded and while it executes."""
        return nullcontext()

    def model(self, model: TorchModel) -> None:
        """Done once to a loaded model."""

    def program(self, program: Program) -> Program:
        """Done once to a prepared program."""
        return program
