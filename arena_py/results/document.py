"""The run document: everything a run found, in one versioned JSON file (`artifacts/results/RUN/run.json`).

Every report is made from it and nothing else. Durations are integer nanoseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from arena_py.build.record import BuildRecord
from arena_py.contract.messages import Description, Precision
from arena_py.manifest.suite import GateLimits, Sampling
from arena_py.results.observed import Breakdown, Observation, Roofline

SCHEMA = 1

Status: TypeAlias = Literal[
    "passed",
    "wrong",
    "unsupported",
    "unavailable",
    "out_of_memory",
    "skipped",
    "crashed",
    "timed_out",
    "not_built",
]
"""`passed` is ranked; `unsupported`, `unavailable` and `skipped` are declared; the others make a run end with 1, but
for `out_of_memory` in a sweep, which ends there. `skipped`: a smaller shape was already out of memory."""


class Interval(msgspec.Struct, frozen=True):
    """A point estimate with its interval (`measure/statistics.py`)."""

    value: float
    low: float
    high: float
    confidence: float = 0.95
    """Less than 0.95 where there are too few samples: the interval is then their range."""

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2


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
    """Of the execution that was verified; for `step` of the last step."""
    reference_loss: float | None = None
    curve: list[float | None] = []
    """Of `step`: the loss of each step, before its update; absent where it is not finite."""
    reference_curve: list[float] = []


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One timed request of a runner: `len(ns)` executions, one sample each, while all other runners were idle."""

    launch: int
    """From 0."""
    round: int
    """From 0 in each launch; -1 for what precedes the shuffled rounds."""
    order: int
    """Position of the request among all of the case, so that drift can be seen."""
    warmup: bool = False
    """Not part of the summary."""
    ns: list[int]
    first_token_ns: list[int] | None = None
    """Of `decode`: when the first new token was there."""
    joules: dict[str, float] = {}
    """Of the whole request by part of the machine (`cpu`, `gpu`), idle power included; empty where nothing counts."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a variant on a case."""

    startup_ns: int | None
    """Absent in the driver's own process."""
    load_ns: int
    prepare_ns: int
    first_ns: int
    peak_rss_bytes: int | None = None
    """High-water mark after the timed executions, before outputs are written."""
    device_bytes: int | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the turns say; can be computed again from them (`results/summary.py`)."""

    median_ns: Interval
    samples: int
    outliers: int
    """Beyond Tukey's fences (1.5 interquartile ranges); kept."""
    mad_ns: float
    """Median absolute deviation from the median."""
    launch_spread: float | None
    """Half the range of the launches' own medians over the median: the variant compared with itself (A/A)."""
    units_per_s: Interval
    first_token_ns: Interval | None = None
    """Of `decode`: prompt to first token."""
    per_token_ns: Interval | None = None
    """Of `decode`: each token after the first."""
    ratio_to_best: Interval | None = None
    """Median of the paired ratios to the fastest that passed; 1 for that one."""
    rank: int | None = None
    """From 1; equal ranks are ties. Only what passed the gate has one."""


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """Joules of one execution, as the machine's own counters have them (`results/energy.py`)."""

    joules: dict[str, Interval]
    """By part of the machine: `cpu`, all packages; `gpu`, all devices. Their idle power is included."""
    valid: bool
    doubts: list[str] = []
    """Why it is not valid."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one case."""

    framework: str
    variant: str
    language: str | None = None
    """The framework's runner is written in: `python` or `rust`."""
    backend: str | None = None
    """The contract's name of what it ran on."""
    model: str
    task: str
    shape: str
    unit: str
    units_per_execution: int
    steps_per_execution: int | None = None
    """Of `decode`: new tokens of each sequence."""
    status: Status
    reason: str | None
    """Why the status is not `passed`, in the runner's or the gate's own words."""
    boundary: str
    precision: str
    threads: int
    device: str | None = None
    """That had the model, as its driver calls it, read back from the runner; absent on the host's processor."""
    description: Description | None = None
    build: BuildRecord | None = None
    """What was built, from what, by what."""
    parameters: int | None = None
    parameter_bytes: int | None = None
    flops: int | None = None
    """Of one execution: matrix products and convolutions of the canonical module, an addition counted as one."""
    peak_share: float | None = None
    """Of the roofline that it reaches of what it ran on (`measure/roofline.py`)."""
    shipped_bytes: int | None = None
    """Bytes of the executable, or of the framework's environment."""
    verification: Verification | None = None
    launches: list[Launch] = []
    turns: list[Turn] = []
    """Every raw sample, warm-up included."""
    summary: Summary | None = None
    energy: Energy | None = None
    """Absent where the machine has no counter that its user may read."""
    notes: list[str] = []
    """Where the measurement departed from the plan, and why: fewer launches or samples, turns for lack of memory."""
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
    bound_inputs_sha256: list[str]
    """Of the inputs that are bound after `prepare`, one execution each; the last one's outputs are checked."""
    reference_sha256: str
    noise: dict[str, float]
    """Float32 PyTorch's own largest error, by group (`outputs`, `loss`, `gradients`)."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on; nothing that names the machine or its user."""

    system: str
    kernel: str
    architecture: str
    cpu: str
    cores: int
    """Physical."""
    threads: int
    """Logical."""
    usable_threads: float
    """Left by the process's affinity and its control group."""
    memory_bytes: int
    virtual: bool | None
    """Under a hypervisor; `None` where it cannot be told."""
    governor: str | None
    frequency_mhz: float | None
    load_average: list[float]
    """Over 1, 5 and 15 minutes before the run; empty where the system has none."""
    python: str
    gpus: list[str] = []
    """Of NVIDIA's, each with its driver's version."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was asked for, over its suite."""

    sampling: Sampling
    gate: dict[Precision, GateLimits]
    rounds: int | None = None
    """At most so many rounds in a launch."""
    weights: str | None = None
    """Overrides the manifests' source of weights."""
    sweep: dict[str, list[int]] = {}
    """The sizes of a sweep, by name."""
    noise_floor: dict[str, float] = {}
    """This machine's by task, as a share of the median, where `aa` found it: a difference inside it is a tie."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`."""

    schema: int
    arena: str
    """Arena's version."""
    id: str
    started: str
    """ISO 8601, UTC."""
    finished: str | None
    resumed: list[str] = []
    """When it was taken up again after it had been cut off."""
    command: list[str]
    suite: str
    seed: int
    threads: int
    machine: Machine
    settings: Settings
    cases: list[Prepared]
    cells: list[Cell]
    observations: list[Observation] = []
    """Of the machine, one a round of each case."""
    breakdown: Breakdown | None = None
    roofline: Roofline | None = None
    """Of the processors; absent where it could not be measured; a warning says why."""
    device_rooflines: list[Roofline] = []
    """Of devices that were to be compared, one a precision."""
    warnings: list[str] = []
