"""The messages of the contract, version 1, as strict types (`docs/contract.md`).

Decoding is strict (a string is never taken for a number) and tolerant of unknown fields, as the contract asks.
The JSON Schema under `docs/schema/` is generated from these types.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

CONTRACT = 1
MAX_LINE_BYTES = 1 << 20

TaskName: TypeAlias = Literal["infer", "decode", "train", "step"]
Precision: TypeAlias = Literal["f32", "tf32", "f16", "bf16", "f64"]
"""`f64` is accepted by the reference alone: its outputs are f64."""
BoundaryName: TypeAlias = Literal["host", "device"]
ErrorCode: TypeAlias = Literal[
    "invalid_request",
    "unknown_op",
    "unsupported",
    "invalid_weights",
    "invalid_inputs",
    "device_unavailable",
    "out_of_memory",
    "internal",
]

MOST = (1 << 63) - 1
"""JSON has no largest integer; what is computed from one does."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding somebody else's JSON raises: it may also be nested too deeply."""
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Nanoseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST, description="nanoseconds of a monotonic clock")]


class FrameworkVersion(msgspec.Struct, frozen=True):
    """Name and version of the framework under test."""

    name: str
    version: str


class Backend(msgspec.Struct, frozen=True):
    """One backend that a build could use."""

    id: str
    device: str
    precisions: list[str]


class Build(msgspec.Struct, frozen=True):
    """How a runner was built."""

    compiler: str
    profile: str
    features: list[str]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner is: printed by `describe`, and part of the ready line of `serve`."""

    contract: int
    runner: str
    framework: FrameworkVersion
    backends: list[Backend]
    architectures: dict[str, list[str]]
    own_kernels: list[str]
    build: Build


class Ready(Description, frozen=True, kw_only=True):
    """The first line of `serve`."""

    event: Literal["ready"]


class ModelSpec(msgspec.Struct, frozen=True):
    """An architecture and its public configuration."""

    architecture: str
    config: dict[str, Any]


class Sgd(msgspec.Struct, frozen=True, tag_field="name", tag="sgd"):
    """`torch.optim.SGD` without momentum."""

    lr: float


class AdamW(msgspec.Struct, frozen=True, tag_field="name", tag="adamw"):
    """`torch.optim.AdamW`."""

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float


Optimizer: TypeAlias = Sgd | AdamW


class TaskOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of `prepare`: `new_tokens` for `decode`, `optimizer` for `step`."""

    new_tokens: Positive | None = None
    optimizer: Optimizer | None = None


class Load(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="load"):
    """Build the model from the weights file; replaces what was loaded."""

    id: int
    model: ModelSpec
    weights: str
    backend: str
    precision: Precision
    threads: Positive


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="prepare"):
    """Compile for the shapes of the inputs, then execute once."""

    id: int
    task: TaskName
    inputs: str
    options: TaskOptions = TaskOptions()


class Run(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="run"):
    """Execute again, that many times, one sample each."""

    id: int
    iterations: Positive
    boundary: BoundaryName


class Bind(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="bind"):
    """Other input values of the same names, types and shapes."""

    id: int
    inputs: str


class Outputs(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="outputs", omit_defaults=True):
    """Write the outputs of the latest execution; all of them when `names` is absent."""

    id: int
    path: str
    names: list[str] | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="usage"):
    """Ask for the process's own high-water mark."""

    id: int


class Shutdown(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="shutdown"):
    """Answer, then exit 0."""

    id: int


Request: TypeAlias = Load | Prepare | Run | Bind | Outputs | Usage | Shutdown


class Loaded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`load`: time, number of scalar parameters and their bytes as loaded, and the device that has them."""

    load_ns: Nanoseconds
    parameters: Count
    parameter_bytes: Count
    device: str | None = None
    """As its driver calls it, read back; none on the host's processor."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """`prepare`: time to compile, and of the first execution."""

    prepare_ns: Nanoseconds
    first_ns: Nanoseconds


class Samples(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`run`: one sample an execution; `first_token_ns` for `decode` only."""

    samples_ns: list[Nanoseconds]
    first_token_ns: list[Nanoseconds] | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """`outputs`: how many tensors were written."""

    tensors: Count


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True):
    """`usage`: the process's own peak, and the device's where it is known."""

    peak_rss_bytes: Count
    device_bytes: Count | None = None


class Empty(msgspec.Struct, frozen=True):
    """`bind` and `shutdown`."""


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not done."""

    code: ErrorCode
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer line: exactly one of `ok` (an object of the request's own type) and `error`."""

    id: int | None
    ok: dict[str, Any] | None = None
    error: Problem | None = None


ANSWERS: dict[type[msgspec.Struct], type[msgspec.Struct]] = {
    Load: Loaded,
    Prepare: Prepared,
    Run: Samples,
    Bind: Empty,
    Outputs: Written,
    Usage: MemoryUse,
    Shutdown: Empty,
}
"""The type of `ok` for each request."""
