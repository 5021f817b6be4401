"""Golden cases in a lower precision: their limits are made from PyTorch's own error in it, which is computed here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from arena_py.contract.messages import Precision, TaskName, TaskOptions
from arena_py.errors import ArenaError
from arena_py.verify.canon import Canon
from arena_py.verify.cases import LOWER
from arena_py.verify.golden import GoldenCase, other_inputs
from arena_py.verify.norms import compare

TASKS: tuple[TaskName, ...] = ("infer", "train")
"""What a golden case has a reference for; a step's limits follow from those of its gradients."""


def lowered(case: GoldenCase, precision: Precision, canon: Canon) -> GoldenCase:
    """The case with PyTorch's error in a precision; as it is in float32.

    Raises:
        ArenaError: PyTorch does not compute in that precision here, or is not built.
    """
    if precision == case.precision:
        return case
    if precision not in LOWER:
        raise ArenaError(f"no limits for precision {precision}", hint=f"known: {', '.join((case.precision, *LOWER))}")
    errors: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        first = other_inputs(case.inputs, Path(folder) / "first.safetensors")
        for task in TASKS:
            output = Path(folder) / f"{task}.safetensors"
            canon.run("lowered", case.exercise(task, TaskOptions(), first).on("cpu", precision), output)
            comparison = compare(output, case.expected, case.names(task))
            if comparison.problems:
                raise ArenaError(f"{case.name}: PyTorch in {precision}: {comparison.problems[0]}", exit_code=1)
            errors |= {distance.name: distance.error for distance in comparison.distances}
    outputs = {name: errors[name] for name in case.names("infer")}
    return msgspec.structs.replace(case, precision=precision, own_noise={"max": max(errors.values()), **outputs})
