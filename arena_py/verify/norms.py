"""How far a file of tensors is from another, tensor by tensor, in one streamed pass.

The error of a tensor is the root mean square of its difference to the reference over the root mean square of the
reference: the relative error in the Frobenius norm (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
section 6.2), computed in float64. A tensor whose reference almost vanishes (the bias in front of a normalisation) has
no meaningful relative error of its own: the denominator is at least `SMALL` times the RMS of its whole group.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from arena_py.contract.tensors import TensorFile, TensorInfo

SMALL = 1e-3

Group: TypeAlias = Literal["outputs", "loss", "gradients", "parameters"]


CURVE = "loss.curve"
"""The name of the losses of all steps, which no runner writes in one piece."""


def group_of(name: str) -> Group:
    """The group that a tensor's limit belongs to."""
    if name in ("loss", CURVE):
        return "loss"
    if name.startswith("grad."):
        return "gradients"
    return "parameters" if name.startswith("param.") else "outputs"


class Distance(msgspec.Struct, frozen=True):
    """One tensor's distance to its reference."""

    name: str
    group: Group
    error: float
    """Normalised RMS error; for ids the share that differs."""
    nonfinite: int
    """NaN or infinite elements where the reference is finite."""


class Comparison(msgspec.Struct, frozen=True):
    """A file against its reference."""

    distances: list[Distance]
    problems: list[str]
    """Tensors missing, unexpected, or of the wrong shape or type."""

    def worst(self) -> dict[Group, float]:
        """The largest error of each group."""
        largest: dict[Group, float] = {}
        for distance in self.distances:
            largest[distance.group] = max(largest.get(distance.group, 0.0), distance.error)
        return largest


class _Sums(msgspec.Struct):
    reference: float = 0.0
    difference: float = 0.0
    nonfinite: int = 0


def compare(outputs: Path, expected: Path, names: list[str] | None = None) -> Comparison:
    """Compare every tensor of `expected` (only `names` when given) with the one of the same name in `outputs`.

    Args:
        outputs: what a runner wrote; f32, ids i64.
        expected: the reference; f64 (or f32), ids i64.
        names: the tensors that the task has, when `expected` holds more.

    Raises:
        TensorFileError: one of the files cannot be read.
    """
    with TensorFile(outputs) as ours, TensorFile(expected) as theirs:
        wanted = theirs.tensors.keys() if names is None else set(names)
        problems = [f"tensor {name!r} is missing" for name in sorted(wanted - ours.tensors.keys())]
        problems += [f"tensor {name!r} was not asked for" for name in sorted(ours.tensors.keys() - wanted)]
        sums: dict[str, _Sums] = {}
        for name in theirs.tensors:
            if name not in wanted or name not in ours.tensors:
                continue
            if problem := _mismatch(ours.tensors[name], theirs.tensors[name]):
                problems.append(problem)
                continue
            sums[name] = _accumulate(ours, theirs, name)
        elements = {name: theirs.tensors[name].elements for name in sums}
        integers = {name for name in sums if theirs.tensors[name].dtype.kind == "i"}
    return Comparison(_distances(sums, elements, integers), problems)


def with_curve(comparison: Comparison, curve: Sequence[float], reference: Sequence[float]) -> Comparison:
    """The comparison with one tensor more, the losses of all steps; the same when the task has none.

    Args:
        comparison: of the tensors in the files.
        curve: the loss of each step.
        reference: the reference's, as many.
    """
    if len(curve) != len(reference):
        problem = f"{len(curve)} losses, expected {len(reference)}"
        return Comparison(comparison.distances, [*comparison.problems, problem])
    if not reference:
        return comparison
    exact, difference = np.asarray(reference), np.asarray(curve) - np.asarray(reference)
    sums = _Sums(float(exact @ exact), float(difference @ difference), int(np.count_nonzero(~np.isfinite(difference))))
    (distance,) = _distances({CURVE: sums}, {CURVE: len(reference)}, set())
    return Comparison([*comparison.distances, distance], comparison.problems)


def _mismatch(ours: TensorInfo, theirs: TensorInfo) -> str | None:
    if ours.shape != theirs.shape:
        return f"tensor {ours.name!r} has shape {list(ours.shape)}, expected {list(theirs.shape)}"
    if (ours.dtype.kind == "i") != (theirs.dtype.kind == "i") or ours.dtype.kind not in "fi":
        return f"tensor {ours.name!r} has type {ours.dtype.name}, expected {theirs.dtype.name}"
    return None


def _accumulate(ours: TensorFile, theirs: TensorFile, name: str) -> _Sums:
    sums = _Sums()
    for mine, reference in zip(ours.chunks(name), theirs.chunks(name), strict=True):
        if reference.dtype.kind == "i":
            sums.reference += reference.size
            sums.difference += int(np.count_nonzero(mine != reference))
            continue
        exact = reference.astype(np.float64, copy=False)
        difference = mine.astype(np.float64)
        finite = np.isfinite(difference)
        if not finite.all():
            sums.nonfinite += int(np.count_nonzero(~finite & np.isfinite(exact)))
        difference -= exact
        sums.reference += float(np.dot(exact, exact))
        sums.difference += float(np.dot(difference, difference))
    return sums


def _distances(sums: dict[str, _Sums], elements: dict[str, int], integers: set[str]) -> list[Distance]:
    pooled: dict[Group, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, sum_ in sums.items():
        if name not in integers:
            pooled[group_of(name)][0] += sum_.reference
            pooled[group_of(name)][1] += elements[name]
    distances = []
    for name, sum_ in sums.items():
        group = group_of(name)
        if name in integers:
            error = sum_.difference / max(sum_.reference, 1.0)
        else:
            total, count = pooled[group]
            floor = SMALL * math.sqrt(total / max(count, 1.0))
            scale = max(math.sqrt(sum_.reference / max(elements[name], 1)), floor)
            rms = math.sqrt(sum_.difference / max(elements[name], 1)) if sum_.nonfinite == 0 else math.inf
            error = rms / scale if scale > 0 else (math.inf if rms > 0 else 0.0)
        distances.append(Distance(name, group, error, sum_.nonfinite))
    return distances
