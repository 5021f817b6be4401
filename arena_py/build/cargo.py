"""One `cargo build`, and how far it is, from cargo's own messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from arena_py.build import process, reproducible

QUIET = {"CARGO_TERM_COLOR": "never", "CARGO_TERM_PROGRESS_WHEN": "never"}


class _Target(msgspec.Struct):
    name: str = ""
    kind: list[str] = []


class _Message(msgspec.Struct):
    """The fields that are used of a line of `--message-format=json-render-diagnostics`."""

    reason: str
    package_id: str = ""
    target: _Target = msgspec.field(default_factory=_Target)
    executable: str | None = None


@dataclass
class Watch:
    """Counts the crates that are finished and catches the executable.

    Args:
        binary: the name of the executable that is wanted.
        total: crates in the build; none when unknown.
        step: told (crate, finished, total).
    """

    binary: str
    total: int | None
    step: Callable[[str, int, int | None], None]
    executable: Path | None = None
    _done: set[str] = field(default_factory=set)

    def line(self, text: str) -> None:
        """Take one line of cargo's standard output; what is no message of cargo's is passed over."""
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.MsgspecError:
            return
        if message.reason != "compiler-artifact" or "custom-build" in message.target.kind:
            return
        self._done.add(message.package_id)
        total = None if self.total is None else max(self.total, len(self._done))
        self.step(message.target.name, len(self._done), total)
        if message.executable and message.target.name == self.binary and "bin" in message.target.kind:
            self.executable = Path(message.executable)


def build(
    cargo: str,
    folder: Path,
    *,
    binary: str,
    features: list[str],
    profile: str = "release",
    rustflags: Sequence[str] = (),
    target: Path,
    log: Path,
    step: Callable[[str, int, int | None], None],
    tick: Callable[[float], None],
    environment: Mapping[str, str] | None = None,
) -> Path | None:
    """Build a crate's executable in a profile for release.

    Args:
        cargo: the tool.
        folder: the crate.
        binary: the executable's name.
        features: beyond the default ones.
        profile: cargo's.
        rustflags: in place of those in cargo's configuration; the user's own stay.
        target: cargo's target folder.
        log: where what cargo says is appended.
        step: told (crate, finished, total).
        tick: told the seconds since the start.
        environment: variables that cargo reads, beside the driver's own.

    Returns:
        The executable, or none when cargo failed: the log says why.

    Raises:
        OSError: cargo cannot be started or the log cannot be written.
    """
    chosen = ["--locked", *(["--features", ",".join(features)] if features else [])]
    step("resolving dependencies", 0, None)
    watch = Watch(binary, _crates(cargo, folder, chosen, log, tick), step)
    command = [cargo, "build", "--profile", profile, *chosen, "--bin", binary]
    # After `cargo tree`, which fetched the sources that are to be renamed.
    command += ["--target-dir", str(target), *reproducible.arguments(folder, target)]
    command += ["--message-format", "json-render-diagnostics"]
    step("starting cargo", 0, watch.total)
    variables = {**QUIET, **reproducible.environment(target), **_flags(rustflags), **(environment or {})}
    code = process.run(command, cwd=folder, log=log, environment=variables, on_line=watch.line, on_tick=tick)
    return watch.executable if code == 0 else None


def _flags(rustflags: Sequence[str]) -> dict[str, str]:
    """What cargo takes in place of the flags in its configuration."""
    return {"RUSTFLAGS": " ".join([*rustflags, *os.environ.get("RUSTFLAGS", "").split()])} if rustflags else {}


def _crates(cargo: str, folder: Path, chosen: list[str], log: Path, tick: Callable[[float], None]) -> int | None:
    """How many crates this build has on this machine; none when cargo cannot tell, which its build then explains."""
    seen: set[str] = set()
    command = [cargo, "tree", *chosen, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]
    code = process.run(
        command,
        cwd=folder,
        log=log,
        environment=QUIET,
        on_line=lambda line: seen.add(line.removesuffix(" (*)")) if line else None,
        on_tick=tick,
    )
    return len(seen) if code == 0 and seen else None
