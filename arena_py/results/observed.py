"""What a run saw of the machine and of itself, as parts of the run document."""

from __future__ import annotations

import msgspec

from arena_py.contract.messages import Precision


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device of NVIDIA's, as its driver tells; what it does not tell is absent."""

    name: str
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    watts: float | None = None
    celsius: int | None = None
    used_bytes: int | None = None
    """By all processes."""
    others_share: float | None = None
    """Of the time since the round before, in which programs other than the driver and the runners computed on it."""
    slowed_by: list[str] = []
    """Why its clocks are lower than they could be: power cap, heat, …; an idle one is none."""


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
    gpus: list[Gpu] = []


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
    """The most that the machine's processors did, with as many threads as the runners have, or one of its devices."""

    flops_per_s: float
    """In matrix products."""
    bytes_per_s: float
    """From and to memory."""
    threads: int
    device: str | None = None
    """The name of the device; absent of the processors."""
    precision: Precision = "f32"
    """Of the matrix products."""
