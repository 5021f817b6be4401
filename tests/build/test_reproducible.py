"""Builds in two folders, by the real cargo: the same bytes, and no path of this machine in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house import write

from arena_py import places
from arena_py.build import cargo, reproducible, tools

SHARED = """
#[inline(never)]
pub fn nth(values: &[u8], index: usize) -> u8 { values[index] }
pub fn kind<T: std::any::Any>() -> std::any::TypeId { std::any::TypeId::of::<T>() }
pub struct Marked;
"""
MAIN = """
fn main() {
    let index = std::env::args().count();
    println!("{:?} {}", shared::kind::<shared::Marked>(), shared::nth(&[1, 2, 3], index));
    assert!(index < 2, "too many words");
}
"""
MANIFEST = """
[workspace]
[package]
name = "arena-own"
edition = "2021"
[dependencies]
shared = { path = "../shared" }
[profile.release]
opt-level = 3
lto = "fat"
codegen-units = 1
strip = true
panic = "abort"
"""


@pytest.fixture
def tool() -> str:
    return tools.cargo() or pytest.skip("cargo is not installed")


def made(tool: str, root: Path, monkeypatch: pytest.MonkeyPatch, flags: str = "") -> Path:
    """The executable of a small crate that takes another by path, as runners do."""
    folder = root / "rust_bins" / "own"
    write(folder / "Cargo.toml", MANIFEST)
    write(folder / "src" / "main.rs", MAIN)
    write(folder / ".cargo" / "config.toml", f"[target.'cfg(unix)']\nrustflags = [{flags}]\n")
    write(root / "rust_bins" / "shared" / "Cargo.toml", '[package]\nname = "shared"\nedition = "2021"\n')
    write(root / "rust_bins" / "shared" / "src" / "lib.rs", SHARED)
    subprocess.run([tool, "generate-lockfile", "--offline"], cwd=folder, check=True, capture_output=True)
    monkeypatch.setattr(places, "rust_bins", lambda: root / "rust_bins")
    log = root / "log"
    built = cargo.build(
        tool, folder, binary="arena-own", features=[], target=root / "target", log=log,
        step=lambda *_: None, tick=lambda _: None,
    )  # fmt: skip
    assert built is not None, log.read_text()
    return built


def test_two_folders_give_the_same_bytes(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
        monkeypatch.delenv(name, raising=False)
    places_ = [tmp_path / "one", tmp_path / "another" / "much deeper"]
    first, second = (made(tool, place, monkeypatch).read_bytes() for place in places_)

    assert b"/arena/shared/src/lib.rs" in first
    assert os.fsencode(tmp_path) not in first
    assert first == second


def test_the_crate_s_own_flags_stay(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = made(tool, tmp_path, monkeypatch, '"--cfg", "own_flag", "-C", "link-arg=-Wl,--defsym=own_symbol=1"')
    log = (tmp_path / "log").read_text()

    assert os.fsencode(tmp_path) not in built.read_bytes(), log
    told = subprocess.run(
        [tool, "rustc", "--release", "--offline", "--target-dir", str(tmp_path / "target"),
         *reproducible.arguments(tmp_path / "rust_bins" / "own", tmp_path / "target"), "--", "--print", "cfg"],
        cwd=tmp_path / "rust_bins" / "own", check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "own_flag" in told.split()


def test_what_the_user_sets_replaces_ours(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSTFLAGS", "--cfg theirs")

    assert os.fsencode(tmp_path) in made(tool, tmp_path, monkeypatch).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no shell")
@pytest.mark.parametrize(
    ("folder", "number"), [("rust_bins/runner", "arena_runner-0.1.0"), ("elsewhere", "c0ffee"), ("rust_bins", "c0ffee")]
)
def test_the_wrapper_numbers_crates_of_ours_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, number: str
) -> None:
    monkeypatch.setattr(places, "rust_bins", lambda: tmp_path / "rust_bins")
    monkeypatch.setenv("RUSTC_WRAPPER", "/usr/bin/env")
    given = reproducible.environment(tmp_path / "target")
    words = ["--crate-name", "x", "-C", "metadata=c0ffee", "", "a b", 'feature="y z"', "*", "-Cextra-filename=-c0ffee"]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    told = subprocess.run(
        [given["RUSTC_WRAPPER"], sys.executable, "-c", code, *words],
        env={
            **os.environ,
            **given,
            "CARGO_MANIFEST_DIR": str(tmp_path / folder),
            "CARGO_CRATE_NAME": "arena_runner",
            "CARGO_PKG_VERSION": "0.1.0",
        },
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert given["ARENA_RUSTC_WRAPPER"] == "/usr/bin/env"
    assert json.loads(told) == [word.replace("metadata=c0ffee", f"metadata={number}") for word in words]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no shell")
def test_cargo_asks_rustc_through_the_wrapper(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cargo wants to know of the compiler before it builds anything, with the flags that it will build with."""
    folder = places.rust_bins() / "luminal"
    monkeypatch.delenv("RUSTC_WRAPPER", raising=False)
    monkeypatch.delenv("ARENA_RUSTC_WRAPPER", raising=False)
    command = [tool, "tree", "--locked", "--offline", "--depth", "0", *reproducible.arguments(folder, tmp_path)]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **reproducible.environment(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("arena-luminal v0.1.0")
    assert "warning" not in done.stderr


def test_every_registry_s_sources_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    for name in ("index.crates.io-1", "mirror-2"):
        (tmp_path / "registry" / "src" / name).mkdir(parents=True)

    told = reproducible.arguments(tmp_path, tmp_path / "target")[1]

    assert f"{tmp_path}/registry/src/index.crates.io-1={reproducible.REGISTRY}" in told
    assert f"{tmp_path}/registry/src/mirror-2={reproducible.REGISTRY}" in told


def test_sources_of_the_standard_library_are_named_as_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "toolchain"
    (root / "lib" / "rustlib" / "src" / "rust").mkdir(parents=True)
    rustc = tmp_path / "rustc"
    rustc.write_text(f'#!/bin/sh\n[ "$1" = -vV ] && echo "commit-hash: abc" || echo "{root}"\n')
    rustc.chmod(0o755)
    monkeypatch.setenv("RUSTC", str(rustc))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "none"))

    assert f"{root}/lib/rustlib/src/rust=/rustc/abc" in reproducible.arguments(tmp_path, tmp_path / "target")[1]
    shutil.rmtree(root)
    assert "/rustc/abc" not in reproducible.arguments(tmp_path, tmp_path / "target")[1]
