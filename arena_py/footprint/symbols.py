"""A Rust runner built once more with its symbols, in a target folder of its own: for the share of each crate."""

from __future__ import annotations

from pathlib import Path

from arena_py import places
from arena_py.build import cargo, sources, tools
from arena_py.build.environment import log_of
from arena_py.build.record import BuildRecord
from arena_py.footprint.progress import Progress
from arena_py.manifest import Framework


def build(framework: Framework, record: BuildRecord, progress: Progress) -> Path | str:
    """The executable with symbols, or why there is none.

    Args:
        framework: a Rust framework.
        record: of the build without symbols.
        progress: told how far it is.
    """
    tool = tools.cargo()
    if tool is None:
        return "cargo is not installed"
    assert framework.crate is not None
    log = log_of(f"{framework.name}-symbols")
    progress.note("building it with symbols")

    def step(crate: str, done: int, total: int | None) -> None:
        progress.step(f"building it with symbols: {done} of {total}, {crate}" if total else crate)

    try:
        made = cargo.build(
            tool,
            sources.folder_of(framework.crate),
            binary=f"arena-{framework.crate}",
            features=record.features,
            profile=record.profile,
            rustflags=record.rustflags,
            target=target_of(framework.crate),
            log=log,
            step=step,
            tick=lambda _: None,
            # Its profile otherwise as it is: the code differs by less than a thousandth, which the entry tells.
            environment={f"CARGO_PROFILE_{record.profile.upper().replace('-', '_')}_STRIP": "none"},
        )
    except OSError as error:
        return str(error)
    return made or f"cargo failed, see {log}"


def target_of(crate: str) -> Path:
    """Cargo's target folder of such builds: that of the usual ones stays what it is."""
    usual = places.cargo_target(crate)
    return usual / "symbols" if usual.name == "target" else usual.with_name(f"{usual.name}-symbols")
