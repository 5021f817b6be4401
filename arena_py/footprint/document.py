"""`audit.json`: what has to be shipped to run a model, per variant. Units are in the names."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from arena_py.build.record import BuildRecord
from arena_py.results.document import Interval, Machine, Verification

SCHEMA = 1

Status: TypeAlias = Literal[
    "ok", "wrong", "unreadable", "unsupported", "unavailable", "crashed", "timed_out", "not_built"
]
"""`unreadable`: there is something, and it is no executable or environment that can be taken apart."""
Linkage: TypeAlias = Literal["static", "static-pie", "dynamic"]
Role: TypeAlias = Literal["framework", "models", "runner"]
"""`framework`: what the first requirement needs; `runner`: what speaks the contract; `models`: everything else."""


class Section(msgspec.Struct, frozen=True):
    """One section of an executable."""

    name: str
    bytes: int
    """In memory, as its header says; see `in_file`."""
    in_file: bool
    """Not so for what is only reserved (`.bss`)."""
    loaded: bool
    """Mapped when it runs; not so for symbols and comments."""


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A shared library."""

    name: str
    """What it is asked for by; its file's name where it was only seen mapped."""
    path: str | None
    """Below the environment as `ENV/...`; none when it is not found."""
    bytes: int | None
    needed_by: str | None = None
    """The first that names it."""


class CrateShare(msgspec.Struct, frozen=True, kw_only=True):
    """The code that a crate has in an executable, by its symbols."""

    crate: str
    bytes: int
    share: float
    """Of all code."""


class Executable(msgspec.Struct, frozen=True, kw_only=True):
    """An ELF file."""

    machine: str
    bits: int
    bytes: int
    stripped: bool
    stripped_bytes: int
    """Without symbols and debug sections; `bytes` when it is stripped."""
    zstd_bytes: int
    """Compressed by zstd, level 19."""
    sections: list[Section]
    linkage: Linkage
    interpreter: str | None
    """The dynamic loader."""
    libraries: list[Library]
    """The closure of what it names, the loader not counted."""
    oldest_glibc: str | None
    """The newest version of glibc's symbols that it asks for; none when it asks for none."""
    cpu_level: str
    """`x86-64`, `x86-64-v2`, ... or `unknown`."""
    cpu_level_from: str
    """How that is known."""
    code: list[CrateShare] = []
    """By crate, the largest first; empty without symbols."""
    code_from: str
    """Where the shares of the code come from, or why there are none."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A crate or a distribution, as it is in the SBOM too."""

    name: str
    version: str
    licence: str | None
    """As its own metadata says: an SPDX expression where the author wrote one."""
    purl: str
    sha256: str | None = None
    """Of the package that the lock names."""
    needs: list[str] = []
    """Components that it names, by purl."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """One installed Python package."""

    name: str
    version: str
    role: Role
    bytes: int | None
    """Of its files by RECORD, with what was compiled from them; none where it has no RECORD."""
    files: int | None
    opened_bytes: int | None = None
    """Of its files that one execution opened, whole files; none when nothing was executed."""
    opened_files: int | None = None


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """The Python that an environment was made from, which is not in it."""

    version: str
    executable_bytes: int
    library_bytes: int
    """libpython; 0 where the executable holds it."""
    stdlib_bytes: int
    """The standard library without `site-packages`."""
    opened_bytes: int | None = None
    opened_files: int | None = None

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.executable_bytes + self.library_bytes + self.stdlib_bytes


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A Python framework's environment."""

    bytes: int
    """Every regular file below it, hard links counted once."""
    files: int
    unowned_bytes: int
    """Of files that no RECORD names: the environment's own scripts and settings."""
    framework_bytes: int
    """Of the distributions with the role `framework`."""
    distributions: list[Distribution]
    """The largest first."""
    runtime: Runtime | None
    beside: dict[str, int] = {}
    """Bytes of other environments that are needed before it can run: ONNX Runtime's exporter."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Files that one execution opened."""

    how: str
    """What watched it."""
    files: int
    bytes: int
    """Sizes of those files, whole; the model's own files are not counted."""
    libraries: list[Library]
    """Shared libraries that were mapped at its end, and are no part of an executable's closure."""


class Launches(msgspec.Struct, frozen=True, kw_only=True):
    """Starting a variant so many times."""

    launches: int
    ready_ns: Interval
    """From spawn to the ready line: the median over launches."""
    first_ns: Interval
    """From spawn until the first outputs are written, which were then found right."""
    cpu_ready_s: float
    """Processor seconds until then, the median."""
    cpu_first_s: float
    peak_bytes: int | None
    """Peak memory until the first outputs, the median."""
    samples: list[tuple[int, int]]
    """Each launch: ready, first outputs."""
    evicted: float | None = None
    """The share of the bytes of its files that was not in memory when it was started, the smallest of all launches."""


class Startup(msgspec.Struct, frozen=True, kw_only=True):
    """From spawn to the first right outputs, on the model's smallest input."""

    case: str
    warm: Launches
    cold: Launches | None
    """After its files were taken out of the page cache."""
    cold_how: str
    """How, or why not."""
    asked: int | None = None
    """Launches of each kind that were asked for; there are fewer when the budget was spent."""
    budget_s: float | None = None
    """Seconds that all launches might take; none when nothing limited them."""


class TaskMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak memory of one task in a process of its own."""

    task: str
    case: str
    status: Literal["passed", "wrong", "unsupported", "unavailable", "crashed", "timed_out"]
    reason: str | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    over_weights: float | None = None
    """`peak_bytes` over the bytes of the parameters as the runner counts them."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One variant, or one executable or environment that was named by its path."""

    label: str
    """`FRAMEWORK:VARIANT`, or a file's name."""
    kind: Literal["executable", "environment", "unknown"]
    status: Status
    reason: str | None = None
    """Why the status is not `ok`."""
    version: str | None = None
    build: BuildRecord | None = None
    """Seconds, toolchain, sources."""
    executable: Executable | None = None
    environment: Environment | None = None
    opened: Opened | None = None
    verification: Verification | None = None
    """Of the execution that was watched."""
    startup: Startup | None = None
    memory: list[TaskMemory] = []
    weights_bytes: int | None = None
    """Of the model's weights file."""
    components: list[Component] = []
    """Crates that are linked into it, or installed distributions."""
    build_only: int | None = None
    """Crates that are only needed to build it: build scripts and macros."""
    sbom: str | None = None
    """The CycloneDX file beside this document."""
    notes: list[str] = []
    """What could not be found out, and why."""

    @property
    def shipped_bytes(self) -> int | None:
        """Of the executable, or of the environment; what runs below it is not counted."""
        if self.executable:
            return self.executable.bytes
        return self.environment.bytes if self.environment else None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """`audit.json`."""

    schema: int
    arena: str
    id: str
    started: str
    """ISO 8601, UTC."""
    command: list[str]
    model: str
    threads: int
    machine: Machine
    tools: dict[str, str]
    """Programs that were used, and their versions."""
    entries: list[Entry]
    unfinished: list[str] = []
    """What was asked for and is not among the entries: the audit was interrupted."""
