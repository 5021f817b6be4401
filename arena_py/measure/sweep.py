"""Sweeps: a model's cases at every combination of some sizes, smallest first, until memory ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from msgspec.structs import replace

from arena_py.errors import ArenaError
from arena_py.manifest import Case
from arena_py.manifest.model import ShapeSpec
from arena_py.results.document import Cell

FLOAT64_BYTES = 8
COPIES = 3
"""Of the logits at once: the product, its softmax or gradient, and what is written."""
GIB = 1 << 30
LETTERS = {"batch": "b", "seq": "s", "frames": "f", "prefix": "p", "height": "h", "width": "w", "size": "x"}
"""Of sizes in the names of shapes."""


def parse(given: Sequence[str]) -> dict[str, list[int]]:
    """The sizes of `--sweep batch=1,4 seq=128,1024`, by name, each in rising order.

    Raises:
        ArenaError: not of that form, a size twice, or one that is no whole number above 0.
    """
    sizes: dict[str, list[int]] = {}
    for each in given:
        name, equals, numbers = each.partition("=")
        parts = numbers.split(",")
        if not (name and equals) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise ArenaError(
                f"--sweep {each} is not of the form SIZE=NUMBER,NUMBER", hint="for example: --sweep batch=1,4 seq=128"
            )
        if name in sizes:
            raise ArenaError(f"--sweep names {name} twice")
        sizes[name] = sorted({int(part) for part in parts})
    return sizes


def swept(cases: Sequence[Case], sizes: dict[str, list[int]]) -> list[Case]:
    """Every combination of the sizes for each model and task of the cases, the smallest first.

    The first case of a model and a task gives its other sizes. `latency` is left out: it is `infer` on the smallest
    input, which a sweep has already.

    Raises:
        ArenaError: a model has no size of that name, or nothing is left.
    """
    found: dict[str, Case] = {}
    for case in cases:
        if case.task == "latency":
            continue
        key = f"{case.model.name}/{case.task}"
        if key in found:
            continue
        for name in sizes:
            if name not in case.shape.sizes:
                known = ", ".join(case.shape.sizes)
                raise ArenaError(f"--sweep {name}: {case.model.name} has no size of that name", hint=f"it has: {known}")
        found[key] = case
    if not found:
        raise ArenaError("--sweep has no case to start from", hint="latency is not swept: choose --task infer")
    combinations = [dict(zip(sizes, each, strict=True)) for each in itertools.product(*sizes.values())]
    combinations.sort(key=lambda each: math.prod(each.values()))
    return [replace(case, shape=_shape(case.shape, each)) for case in found.values() for each in combinations]


def at_least(case: Case, other: Case) -> bool:
    """Whether no size of a case is smaller than another's, so that it needs no less memory."""
    ours, theirs = case.shape.sizes, other.shape.sizes
    same = (case.model.name, case.task) == (other.model.name, other.task)
    return same and ours.keys() == theirs.keys() and all(ours[name] >= theirs[name] for name in ours)


class TooLarge(ArenaError):
    """The float64 reference of a shape does not fit: nothing on it could be verified."""


def check_reference(case: Case, available_bytes: int) -> None:
    """Check that the reference's logits, by far its largest tensor, have room; of other models nothing is known.

    Raises:
        TooLarge: they have not.
    """
    vocabulary = case.model.file.config.get("vocab_size")
    sizes = case.shape.sizes
    if not isinstance(vocabulary, int) or case.task not in ("infer", "train", "step"):
        return
    logits_bytes = sizes.get("batch", 1) * sizes.get("seq", 1) * vocabulary * FLOAT64_BYTES
    if logits_bytes * COPIES > available_bytes:
        raise TooLarge(
            f"its float64 reference needs about {logits_bytes * COPIES / GIB:.0f} GiB, "
            f"{available_bytes / GIB:.0f} GiB are available"
        )


class Ended:
    """Where memory ended, for each variant."""

    def __init__(self) -> None:
        self._first: dict[str, list[Case]] = {}

    def take(self, case: Case, cell: Cell) -> None:
        """Remember a cell that was out of memory."""
        if cell.status == "out_of_memory":
            self._first.setdefault(cell.label, []).append(case)

    def of(self, case: Case) -> list[tuple[str, str]]:
        """The variants that need no less memory than they lacked already, each with the reason."""
        reasons = []
        for label, ends in self._first.items():
            smaller = next((end for end in ends if at_least(case, end)), None)
            if smaller is not None:
                reasons.append((label, f"already out of memory on {smaller.name}"))
        return reasons


def _shape(base: ShapeSpec, sizes: dict[str, int]) -> ShapeSpec:
    """The shape with other sizes, and what it counts in proportion."""
    every = {**base.sizes, **sizes}
    counted = base.samples_per_execution
    if counted is not None:
        # Tokens are counted where a shape says how many: a batch times a length.
        scaled = [name for name in sizes if name == "batch" or (name == "seq" and base.unit == "token")]
        for name in scaled:
            counted = counted * sizes[name] // base.sizes[name]
    name = "".join(f"{LETTERS.get(size, size)}{number}" for size, number in every.items())
    return replace(base, name=name, sizes=every, samples_per_execution=counted)
