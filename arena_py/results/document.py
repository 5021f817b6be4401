"""The run document: everything a run found, in one versioned JSON file (`artifacts/results/RUN/run.json`).

Every report is made from it and nothing else. Durations are integer nanoseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from arena_py.contract.messages import Description

SCHEMA = 1

Status: TypeAlias = Literal["passed", "wrong", "unsupported", "unavailable", "crashed", "timed_out", "not_built"]
"""`passed` is ranked; `unsupported` and `unavailable` are declared; the others make a run end with 1."""


class Interval(msgspec.Struct, frozen=True):
    """A point estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class TensorError(msgspec.Struct, frozen=True, kw_only=True):
    """How far one tensor is from the reference."""

    name: str
    error: float | None
    """Normalised RMS error (`verify/norms.py`); absent when elements are not finite."""
    limit: float
    nonfinite: int = 0
    """NaN or infinite elements: any makes the tensor fail."""

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit."""
        return self.error is not None and self.error <= self.limit


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's decision on a cell."""

    passed: bool
    worst: TensorError | None
    """The tensor with the largest error over its limit."""
    tensors: list[TensorError]
    problems: list[str]
    """Tensors missing, too many, or of the wrong shape; empty when the set is right."""
    loss: float | None = None
    reference_loss: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One timed execution."""

    launch: int
    round: int
    order: int
    """Position of the request among all of the case, so that drift can be seen."""
    ns: int
    first_token_ns: int | None = None


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a variant on a case."""

    startup_ns: int
    load_ns: int
    prepare_ns: int
    first_ns: int
    peak_rss_bytes: int | None = None
    device_bytes: int | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the samples say; can be computed again from them."""

    median_ns: Interval
    samples: int
    outliers: int
    """Beyond Tukey's fences (1.5 interquartile ranges); kept."""
    units_per_s: Interval
    ratio_to_best: Interval | None = None
    rank: int | None = None
    """From 1; equal ranks are ties."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one case."""

    framework: str
    variant: str
    model: str
    task: str
    shape: str
    unit: str
    units_per_execution: int
    status: Status
    reason: str | None
    """Why the status is not `passed`, in the runner's or the gate's own words."""
    boundary: str
    precision: str
    threads: int
    description: Description | None = None
    parameters: int | None = None
    parameter_bytes: int | None = None
    shipped_bytes: int | None = None
    """Bytes of the executable, or of the framework's environment."""
    verification: Verification | None = None
    launches: list[Launch] = []
    samples: list[Sample] = []
    summary: Summary | None = None
    log_tail: list[str] = []
    """The last lines of the runner's log, when the cell did not pass."""

    @property
    def label(self) -> str:
        """`FRAMEWORK:VARIANT`."""
        return f"{self.framework}:{self.variant}"

    @property
    def case(self) -> str:
        """`MODEL/TASK/SHAPE`."""
        return f"{self.model}/{self.task}/{self.shape}"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one case, by content."""

    case: str
    architecture: str
    config: dict[str, Any]
    weights_source: str
    weights_sha256: str
    inputs_sha256: str
    bound_inputs_sha256: str
    """Of the inputs that are bound after `prepare` and checked."""
    reference_sha256: str
    noise: dict[str, float]
    """Float32 PyTorch's own largest error, by group (`outputs`, `loss`, `gradients`)."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`."""

    schema: int
    arena: str
    """Arena's version."""
    id: str
    started: str
    """ISO 8601, UTC."""
    finished: str | None
    command: list[str]
    suite: str
    seed: int
    threads: int
    machine: dict[str, Any]
    settings: dict[str, Any]
    cases: list[Prepared]
    cells: list[Cell]
    warnings: list[str] = []
