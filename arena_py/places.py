"""Where things are: the manifests and runner sources that came with Arena, and the folder of what it makes."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder that holds `manifests/` and `rust_bins/`: the checkout, or the package's own data in a wheel."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "manifests" / "models").is_dir() else PACKAGE / "data"


def manifests() -> Path:
    """The folder of TOML files: `models/`, `frameworks/`, `suites/`."""
    return home() / "manifests"


def rust_bins() -> Path:
    """The folder of the Rust runners' sources."""
    return home() / "rust_bins"


def artifacts() -> Path:
    """The folder of what is built and measured: `$ARENA_ARTIFACTS`, the checkout's, or `./artifacts`."""
    if chosen := os.environ.get("ARENA_ARTIFACTS"):
        return Path(chosen).absolute()
    root = home()
    return (root if root != PACKAGE / "data" else Path.cwd()) / "artifacts"


def cargo_target(runner: str, variant: str | None = None) -> Path:
    """The target folder of one runner: below `$ARENA_CACHE` when set, else cargo's default place.

    A variant with a build of its own has one of its own, so that neither build makes the other's compile again.
    """
    if cache := os.environ.get("ARENA_CACHE"):
        return Path(cache).absolute() / "cargo" / (f"{runner}-{variant}" if variant else runner)
    target = rust_bins() / runner / "target"
    return target / f"variant-{variant}" if variant else target
