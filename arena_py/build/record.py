"""What was built, from what, by what: one JSON file beside every executable and in every environment.

The record is written last and atomically, so that what has none was never finished and is not trusted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from arena_py import scratch
from arena_py.contract.messages import UNREADABLE, Count

SCHEMA = 1
CHUNK_BYTES = 1 << 20


Place: TypeAlias = Literal["own", "prebuilt", "current", "in-process"]
"""An executable or environment of its own; an executable that pip installed; the interpreter that runs the driver; the
driver's own process."""


class TorchWheels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which build of torch an environment holds."""

    index: str
    """`registry`: the package registry's; `cpu`, `rocm7.2`, …: of that index of PyTorch."""
    why: str
    version: str
    hashes: list[str] = []
    """Of an index of PyTorch: those that it stated when torch was installed; the lock cannot hold them."""


class Toolkit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What compiled the kernels of an executable."""

    name: Literal["cuda"]
    release: str
    """`13.0`."""
    why: str
    """Where it was found."""
    capability: str
    """The compute capability that its kernels are compiled for, `90`."""


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One build of one runner."""

    schema: int
    framework: str
    version: str
    """The framework's, read from the lock that was built."""
    features: list[str]
    """Cargo features beyond the default ones; empty for an environment."""
    source_sha256: str | None = None
    """Of the runner's sources, those it shares and the settings cargo reads; of the requirements for an environment."""
    lock_sha256: str | None = None
    """Of `Cargo.lock`, or of the framework's `NAME.lock`."""
    compiler: str
    """`rustc 1.95.0 (...)`, or `Python 3.11.7`."""
    seconds: float | None = None
    bytes: Count | None = None
    """Of the executable; of an environment every file in it, hard links counted once."""
    executable_sha256: str | None
    """Of the file that was copied into `artifacts/bin/`; none for an environment."""
    started: str | None = None
    """ISO 8601, UTC."""
    torch: TorchWheels | None = None
    """Of an environment with torch."""
    profile: str = "release"
    """Cargo's."""
    rustflags: list[str] = []
    """The compiler's flags in place of those in the crate's `.cargo/config.toml`."""
    toolkit: Toolkit | None = None
    """Of an executable with kernels of its own."""
    place: Place = "own"
    packages: dict[str, str] = {}
    """The versions found in the current interpreter, for which nothing was built: it has neither sources nor a lock, a
    time or a size."""


def read(path: Path) -> BuildRecord | None:
    """The record at `path`; none when there is no whole one of this schema."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=BuildRecord)
    except (OSError, *UNREADABLE):
        return None
    return record if record.schema == SCHEMA else None


def write(path: Path, record: BuildRecord) -> None:
    """Write the record whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    scratch.write(path, text)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
