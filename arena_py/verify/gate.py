"""The gate: whether a cell's numbers are right. Only what passes is ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from arena_py.contract.messages import Precision
from arena_py.contract.tensors import TensorFileError, scalar
from arena_py.manifest.suite import GateLimits
from arena_py.results.document import TensorError, Verification
from arena_py.verify.norms import Comparison, Distance, compare, with_curve


def check(
    outputs: Path,
    expected: Path,
    noise: Mapping[str, float],
    limits: GateLimits,
    *,
    curve: Sequence[float] = (),
    reference_curve: Sequence[float] = (),
) -> Verification:
    """Compare a runner's outputs with the reference, whole, tensor by tensor.

    Args:
        outputs: the file that the runner wrote.
        expected: the float64 reference.
        noise: the largest error of float32 PyTorch on this case, by group (`norms.group_of`).
        limits: a tensor passes at `k * noise + floor`.
        curve: the loss of each step, for `step`; compared whole, as one more tensor of the group of the loss.
        reference_curve: the reference's.

    Returns:
        The decision with every tensor's error and limit; an unreadable file is a decision, too.
    """
    try:
        comparison = with_curve(compare(outputs, expected), curve, reference_curve)
    except TensorFileError as error:
        return Verification(passed=False, worst=None, tensors=[], problems=[str(error)])
    decision = decide(comparison, noise, limits)
    loss, reference_loss = scalar(outputs, "loss"), scalar(expected, "loss")
    return Verification(
        passed=decision.passed,
        worst=decision.worst,
        tensors=decision.tensors,
        problems=decision.problems,
        loss=loss,
        reference_loss=reference_loss,
        curve=[value if math.isfinite(value) else None for value in curve],
        reference_curve=list(reference_curve),
    )


def unverifiable(noise: Mapping[str, float], limits: GateLimits, precision: Precision) -> str | None:
    """Why nothing can be told in a precision where PyTorch itself is that far off; none where something can.

    An output of zeros has an error of 1: a limit that reaches it lets everything small pass.
    """
    for group, error in noise.items():
        if not limits.k * error + limits.floor < 1:  # nor where it is no number
            return (
                f"not verifiable in {precision}: PyTorch's own error ({group}) is {error:.2g} there, and zeros would "
                f"pass at {limits.k:g} times it"
            )
    return None


def decide(comparison: Comparison, noise: Mapping[str, float], limits: GateLimits) -> Verification:
    """The decision on a comparison: every tensor there, finite, and within its limit.

    The noise is that of a tensor's group, or the tensor's own where `noise` has its name.
    """
    tensors = [
        TensorError(
            name=distance.name,
            error=distance.error if math.isfinite(distance.error) else None,
            # Ids are right or wrong: the noise of real numbers does not excuse one.
            limit=0.0 if distance.name == "tokens" else limits.k * _noise_of(distance, noise) + limits.floor,
            nonfinite=distance.nonfinite,
        )
        for distance in comparison.distances
    ]
    worst = max(tensors, key=_excess, default=None)
    passed = bool(tensors) and not comparison.problems and all(tensor.passed for tensor in tensors)
    return Verification(passed=passed, worst=worst, tensors=tensors, problems=comparison.problems)


def _noise_of(distance: Distance, noise: Mapping[str, float]) -> float:
    return noise[distance.name] if distance.name in noise else noise[distance.group]


def reason(verification: Verification) -> str | None:
    """Why a verification did not pass, in one line; `None` when it did."""
    if verification.passed:
        return None
    if verification.problems:
        more = f" (and {len(verification.problems) - 1} more)" if len(verification.problems) > 1 else ""
        return f"outputs: {verification.problems[0]}{more}"
    failed = [tensor for tensor in verification.tensors if not tensor.passed]
    worst = verification.worst
    if worst is None:
        return "outputs: no tensors"
    what = (
        f"{worst.nonfinite} elements are not finite"
        if worst.error is None
        else f"error {worst.error:.2e} is over the limit {worst.limit:.2e}"
    )
    return f"{worst.name}: {what} ({len(failed)} of {len(verification.tensors)} tensors fail)"


def _excess(tensor: TensorError) -> float:
    if tensor.error is None:
        return math.inf
    if tensor.limit == 0:
        return math.inf if tensor.error else 0.0
    return tensor.error / tensor.limit
