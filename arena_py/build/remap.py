"""Folders of this machine, kept out of executables: builds in two places give the same bytes.

Rust writes the paths of sources into the messages of panics. rustc's `--remap-path-prefix` gives them the same names
everywhere. The flags go to cargo as `--config target.'cfg(all())'.rustflags`, which adds to those of a crate's own
`.cargo/config.toml`; the variable `RUSTFLAGS` would replace them, and still does where the user sets it.
"""

from __future__ import annotations

import json
from pathlib import Path

from arena_py import places
from arena_py.build import process, tools

SOURCES, TARGET, REGISTRY = "/arena", "/target", "/cargo"
"""What the runners' sources, cargo's target folder and the sources of crates are called inside."""
KEY = "target.'cfg(all())'.rustflags"


def arguments(folder: Path, target: Path) -> list[str]:
    """The arguments of `cargo build`.

    Args:
        folder: the crate's.
        target: cargo's target folder.
    """
    flags = [f"--remap-path-prefix={path}={name}" for path, name in _names(folder, target)]
    return ["--config", f"{KEY}={json.dumps(flags)}"]


def _names(folder: Path, target: Path) -> list[tuple[Path, str]]:
    """Folders and their names; of those that fit a path rustc takes the last."""
    registry = tools.cargo_home() / "registry" / "src"
    # A folder for each registry, named after its address: a mirror's is another one.
    sources = sorted(registry.iterdir()) if registry.is_dir() else []
    found = [(places.rust_bins(), SOURCES), (target.absolute(), TARGET), *((each, REGISTRY) for each in sources)]
    return [*found, *_standard_library(folder)]


def _standard_library(folder: Path) -> list[tuple[Path, str]]:
    """Where rustup put the sources of the standard library: rustc calls them so itself where they are missing."""
    rustc = tools.rustc()
    told = process.output([rustc, "-vV"], cwd=folder) if rustc else None
    root = process.output([rustc, "--print", "sysroot"], cwd=folder) if rustc else None
    if not told or not root:
        return []
    commit = next((line.split()[1] for line in told.splitlines() if line.startswith("commit-hash: ")), None)
    path = Path(root.strip()) / "lib" / "rustlib" / "src" / "rust"
    return [(path, f"/rustc/{commit}")] if commit and path.is_dir() else []
