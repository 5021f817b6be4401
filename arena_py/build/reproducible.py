"""Builds of the same sources in two folders give the same bytes: nothing of where they are is in an executable.

Two things would be. Rust writes the paths of sources into the messages of panics: `--remap-path-prefix` gives them the
same names everywhere. And cargo gives a crate that is taken by path a number made from that path (`-C metadata`), by
which rustc numbers types and orders functions: a wrapper around rustc makes it from the crate's name.

The flags go to cargo as `--config target.'cfg(all())'.rustflags`, which adds to those of a crate's own
`.cargo/config.toml`; the variable `RUSTFLAGS` would replace them, and still does where the user sets it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from arena_py import places
from arena_py.build import process, tools

SOURCES, TARGET, REGISTRY = "/arena", "/target", "/cargo"
"""What the runners' sources, cargo's target folder and the sources of crates are called inside."""
KEY = "target.'cfg(all())'.rustflags"
WRAPPER = "arena-rustc"
SCRIPT = """\
#!/bin/sh
# rustc as cargo calls it, but for the number of a crate below ARENA_SOURCES: of its name, not of its folder.
case $CARGO_MANIFEST_DIR/ in "$ARENA_SOURCES"/?*) left=$# ;; *) left=0 ;; esac
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    case $word in metadata=*) word=metadata=$CARGO_CRATE_NAME-$CARGO_PKG_VERSION ;; esac
    set -- "$@" "$word"
    left=$((left - 1))
done
exec ${ARENA_RUSTC_WRAPPER:+"$ARENA_RUSTC_WRAPPER"} "$@"
"""


def arguments(folder: Path, target: Path) -> list[str]:
    """The arguments of `cargo build`.

    Args:
        folder: the crate's.
        target: cargo's target folder.
    """
    flags = [f"--remap-path-prefix={path}={name}" for path, name in _names(folder, target)]
    return ["--config", f"{KEY}={json.dumps(flags)}"]


def environment(target: Path) -> dict[str, str]:
    """The variables of `cargo build`: a wrapper around rustc, which is written into the target folder.

    Args:
        target: cargo's target folder.

    Raises:
        OSError: it cannot be written.
    """
    if sys.platform == "win32":  # No shell: there the same folder gives the same bytes.
        return {}
    wrapper = target.absolute() / WRAPPER
    if not wrapper.is_file() or wrapper.read_text("utf-8") != SCRIPT:
        target.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: another checkout may be building into the same folder.
        scratch = wrapper.with_name(f".{WRAPPER}.{os.getpid()}")
        scratch.write_text(SCRIPT, "utf-8")
        scratch.chmod(0o755)
        scratch.replace(wrapper)
    return {
        "RUSTC_WRAPPER": str(wrapper),
        "ARENA_RUSTC_WRAPPER": os.environ.get("RUSTC_WRAPPER", ""),
        "ARENA_SOURCES": str(places.rust_bins()),
    }


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
