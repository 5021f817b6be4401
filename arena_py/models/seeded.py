"""Seeded values: weights and inputs that need no download, the same on every machine.

Each tensor has a generator of its own, keyed by the seed and the tensor's name, so its values depend neither on the
order in which tensors are made nor on torch. The scales keep activations in a realistic range and let every parameter
show in the outputs: norm weights around 1, biases that are not zero, matrices that keep the variance of their input.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_py.models.inputs import Ids, Normal

if TYPE_CHECKING:
    from arena_py.models.inputs import InputSpec

NORM_JITTER = 0.2
BIAS_STD = 0.1
EMBEDDING_LOGIT_STD = 3.0


@dataclass(frozen=True)
class Distribution:
    """Normal with `mean` and `std`; with `positive`, uniform over `mean - std .. mean + std` instead."""

    mean: float
    std: float
    positive: bool = False

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Values in f32."""
        if self.positive:
            values = generator.random(shape, dtype=np.float32)
            values *= 2.0 * self.std
            values += self.mean - self.std
        else:
            values = generator.standard_normal(shape, dtype=np.float32)
            values *= self.std
            if self.mean:
                values += self.mean
        return values


NORM_WEIGHT = Distribution(1.0, NORM_JITTER)
BIAS = Distribution(0.0, BIAS_STD)


def matrix(shape: tuple[int, ...]) -> Distribution:
    """A linear layer or a convolution, output dimension first: variance 1/fan-in, which keeps that of the input."""
    return Distribution(0.0, 1.0 / math.sqrt(math.prod(shape[1:])))


def embedding(shape: tuple[int, ...]) -> Distribution:
    """A table of tokens [V, C]: normalised hidden states make logits with it that are neither flat nor one-hot."""
    return Distribution(0.0, EMBEDDING_LOGIT_STD / math.sqrt(shape[1]))


def parameter(name: str, shape: tuple[int, ...]) -> Distribution:
    """The common rule: a bias by its name, any other vector is the weight of a norm, the rest are matrices."""
    if name.endswith(".bias"):
        return BIAS
    return NORM_WEIGHT if len(shape) == 1 else matrix(shape)


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator of one tensor."""
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def weights(seed: int, name: str, shape: tuple[int, ...], distribution: Distribution) -> np.ndarray[Any, Any]:
    """The values of a stored tensor."""
    return distribution.draw(generator(seed, f"weights:{name}"), shape)


def inputs(seed: int, spec: InputSpec, sizes: dict[str, int]) -> np.ndarray[Any, Any]:
    """The values of an input."""
    source = generator(seed, f"inputs:{spec.name}")
    shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
    match spec.values:
        case Ids(high):
            return source.integers(0, high, shape, dtype=np.int64)
        case Normal():
            return source.standard_normal(shape, dtype=np.float32)
        case values:
            drawn = source.random(shape, dtype=np.float32) * np.float32(values.high - values.low)
            drawn += np.float32(values.low)
            return np.floor(drawn) if values.whole else drawn
