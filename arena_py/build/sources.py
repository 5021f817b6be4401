"""What a Rust runner is made from, as one hash: when it is the same, cargo would make the same executable."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from arena_py import places

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_BUILT_IN = frozenset({"target", "tests", "benches", "examples", "__pycache__"})
"""Folders of a crate that do not reach its executable."""
NOT_READ = frozenset({"Cargo.lock", "pyproject.toml", "rustfmt.toml"})
"""Nor do these files; the lock has a hash of its own."""
SETTINGS = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTUP_TOOLCHAIN")
SETTINGS_PREFIX = "CARGO_PROFILE_"


def folder_of(crate: str) -> Path:
    """The sources of one runner."""
    return places.rust_bins() / crate


def source_sha256(crate: str) -> str:
    """Over the crate's files, those of the crates that it takes by path, and the settings that cargo reads.

    `Cargo.lock` is not in it: it has a hash of its own in the build record.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _files(folder_of(crate)):
        name = Path(os.path.relpath(path, places.rust_bins())).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    for name in sorted(os.environ):
        if name in SETTINGS or name.startswith(SETTINGS_PREFIX):
            digest.update(f"{name}={os.environ[name]}\0".encode())
    return digest.hexdigest()


def needed_rust(crate: str) -> str | None:
    """`rust-version` of the crate: the oldest compiler that it builds with."""
    version = _toml(folder_of(crate) / "Cargo.toml").get("package", {}).get("rust-version")
    return version if isinstance(version, str) else None


def locked_version(crate: str, framework: str) -> str | None:
    """The framework's version in the crate's `Cargo.lock`: of the package `FRAMEWORK`, else `FRAMEWORK-core`."""
    packages = _toml(folder_of(crate) / "Cargo.lock").get("package", [])
    versions = {package.get("name"): package.get("version") for package in packages}
    version = versions.get(framework) or versions.get(f"{framework}-core")
    return version if isinstance(version, str) else None


def _files(crate: Path) -> list[Path]:
    found: set[Path] = set()
    for folder in _crates(crate):
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_BUILT_IN]
            found |= {Path(parent) / name for name in names if name not in NOT_READ and not name.startswith(".")}
        # A member of a workspace inherits versions, dependencies and profiles from the manifest above it.
        above = folder.parent / "Cargo.toml"
        if above.is_file():
            found.add(above)
    settings = (places.rust_bins() / ".cargo" / "config.toml", crate / ".cargo" / "config.toml")
    toolchains = (places.rust_bins() / "rust-toolchain.toml", crate / "rust-toolchain.toml")
    return sorted(found | {path for path in (*settings, *toolchains) if path.is_file()})


def _crates(crate: Path) -> list[Path]:
    """The crate and every crate that it takes by path, directly or not."""
    known = [crate.resolve()]
    for folder in known:
        manifest = _toml(folder / "Cargo.toml")
        for table in [manifest, *manifest.get("target", {}).values()]:
            for kind in ("dependencies", "build-dependencies"):
                for wanted in table.get(kind, {}).values():
                    if isinstance(wanted, dict) and "path" in wanted:
                        other = (folder / wanted["path"]).resolve()
                        if other not in known:
                            known.append(other)
    return known


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OSError(f"{path}: not TOML: {error}") from error
