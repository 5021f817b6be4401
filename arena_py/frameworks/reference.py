"""The reference: the canonical modules in float64 on the CPU.

What the libraries compute in float32 even there is replaced: angles, and the norms of `llama`; its attention is the
other modules', which is in float64 (`docs/framework-notes/pytorch.md`).
"""

from __future__ import annotations

from arena_py.frameworks.pytorch import PyTorch


class Reference(PyTorch):
    """The framework `reference`: outputs are f64."""

    name = "reference"
    exact = True

    def precisions(self, backend: str) -> list[str]:  # noqa: ARG002 (there is one)
        """Float64 alone."""
        return ["f64"]

    def _backends(self) -> dict[str, str]:
        return {"cpu": super()._backends()["cpu"]}
