"""What a build ends in: something that can be started, or the reason why there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arena_py.build.record import BuildRecord, Place
from arena_py.manifest import Variant


@dataclass(frozen=True)
class Built:
    """A runner that is there and is what its record says."""

    command: list[str]
    """Its argv, to which `describe` or `serve` is appended."""
    record: BuildRecord
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment: where the dynamic linker finds its libraries."""
    missing: tuple[str, ...] = ()
    """Shared libraries that it needs and this machine lacks: it cannot start here."""
    in_process: str | None = None
    """The Python framework that runs in the driver's own process; there is no command then."""

    def environment(self, variant: Variant) -> dict[str, str]:
        """The environment variables that a runner of this variant is started with, beside the general ones."""
        return {**variant.environment, **self.variables}

    @property
    def shipped_bytes(self) -> int | None:
        """Bytes of the executable, or of the installed environment; none for the current interpreter."""
        return self.record.bytes


@dataclass(frozen=True)
class NotBuilt:
    """No runner, or none that can be trusted."""

    reason: str
    """Lower case, no full stop."""
    hint: str | None = None
    declared: bool = False
    """The manifest says that the variant cannot exist on this machine: not a failure."""
    place: Place = "own"
    """Where it was looked for; only what has a place of its own can be built."""
    log: Path | None = None
    """The log of the build that failed."""
    log_tail: tuple[str, ...] = ()
    """Its last lines."""
