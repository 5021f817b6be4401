"""The run document: everything a run found, in one versioned JSON file (`artifacts/results/RUN/run.json`).

Every report is made from it and nothing else. Durations are integer nanoseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from arena_py.build.record import BuildRecord
from arena_py.contract.messages import Description, Precision
from arena_py.manifest.suite import GateLimits, Sampling

SCHEMA = 1

Status: TypeAlias = Literal["passed", "wrong", "unsupported", "unavailable", "crashed", "timed_out", "not_built"]
"""`passed` is ranked; `unsupported` and `unavailable` are declared; the others make a run end with 1."""


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
    reference_loss: float | None = None


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


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a variant on a case."""

    startup_ns: int
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


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one case."""

    framework: str
    variant: str
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
    description: Description | None = None
    build: BuildRecord | None = None
    """What was built, from what, by what."""
    parameters: int | None = None
    parameter_bytes: int | None = None
    flops: int | None = None
    """Of one execution: matrix products and convolutions of the canonical module, an addition counted as one."""
    peak_share: float | None = None
    """Of the machine's roofline that it reaches (`measure/roofline.py`); CPU variants only."""
    shipped_bytes: int | None = None
    """Bytes of the executable, or of the framework's environment."""
    verification: Verification | None = None
    launches: list[Launch] = []
    turns: list[Turn] = []
    """Every raw sample, warm-up included."""
    summary: Summary | None = None
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
    bound_inputs_sha256: str
    """Of the inputs that are bound after `prepare` and checked."""
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


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine just before a round, while every runner was idle; what it does not tell is absent."""

    case: str
    launch: int
    round: int
    load_average: float | None = None
    """Over the last minute."""
    frequency_mhz: float | None = None
    others_threads: float | None = None
    """Processors' worth of work done since the round before by neither the driver nor the runners."""
    swapped_out_bytes: int | None = None
    """Since the machine was started."""
    throttles: int | None = None
    """How often any core was throttled for its heat since then."""


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of the run went, from the first launch to the last; building and references come before it."""

    wall_ns: int
    startups_ns: int
    loads_ns: int
    prepares_ns: int
    """First executions included."""
    samples_ns: int
    """Warm-up included."""
    verify_ns: int
    """Binding, executing and comparing with the reference; launches made for it included."""
    preparation_ns: int
    """Before all that: weights, inputs, references."""
    driver_cpu_share: float
    """The driver's own processor time while samples were taken, of one processor."""

    @property
    def inside_share(self) -> float:
        """Of the wall time: inside runners' samples, loads and prepares."""
        return (self.loads_ns + self.prepares_ns + self.samples_ns) / self.wall_ns if self.wall_ns else 0.0

    @property
    def other_ns(self) -> int:
        """The rest: the driver, the pipes, the ends of processes."""
        known = self.startups_ns + self.loads_ns + self.prepares_ns + self.samples_ns + self.verify_ns
        return max(0, self.wall_ns - known)


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """The most that the machine's processors did, with as many threads as the runners have."""

    flops_per_s: float
    """In float32 matrix products."""
    bytes_per_s: float
    """From and to memory."""
    threads: int


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was asked for, over its suite."""

    sampling: Sampling
    gate: dict[Precision, GateLimits]
    rounds: int | None = None
    """At most so many rounds in a launch."""
    weights: str | None = None
    """Overrides the manifests' source of weights."""
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
    """Absent where it could not be measured; a warning says why."""
    warnings: list[str] = []
