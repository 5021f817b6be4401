"""The tensors of a checkpoint: names, shapes, and which of them are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A tensor of the checkpoint."""

    name: str
    """As in the public checkpoint, which is also the NAME of `grad.NAME`."""
    shape: tuple[int, ...]
    trained: bool = True
    """Whether `train` outputs its gradient and `step` changes it."""
    statistic: bool = False
    """A running statistic, which is no parameter of the model."""

    @property
    def elements(self) -> int:
        """How many scalars it has."""
        return math.prod(self.shape)


class Listing(list[Parameter]):
    """Parameters in the making, by the layers that hold them."""

    def add(self, name: str, *shape: int) -> None:
        """A trained tensor."""
        self.append(Parameter(name, shape))

    def affine(self, name: str, *shape: int, bias: bool = True) -> None:
        """A linear layer, a convolution or a norm: a weight, and a bias as long as its first dimension."""
        self.add(f"{name}.weight", *shape)
        if bias:
            self.add(f"{name}.bias", shape[0])
