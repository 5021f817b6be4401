"""`doctor` as its user sees it."""

from __future__ import annotations

import pytest
from house import House

DESCRIPTION = {
    "contract": 1,
    "runner": "rusty",
    "framework": {"name": "rusty", "version": "1.2.3"},
    "backends": [{"id": "cpu", "device": "Abacus", "precisions": ["f32"]}],
    "architectures": {},
    "own_kernels": [],
    "build": {"compiler": "rustc", "profile": "release", "features": []},
}


def rows(text: str) -> str:
    """The output without the table's layout."""
    return " ".join(text.split())


def test_what_can_be_built_is_enough(house: House) -> None:
    house.crate("rusty")

    done = house.arena("doctor")

    assert done.returncode == 0, done.stderr
    assert "rusty:cpu warning not built yet; can be built" in rows(done.stdout)
    assert "python -m arena_py build rusty" in done.stdout
    assert "cargo ok cargo 1.95.0" in rows(done.stdout)
    assert "rustc ok rustc 1.95.0 (1.85 is needed)" in rows(done.stdout)
    assert "uv ok uv 0.9.0" in rows(done.stdout)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_built_runner_is_asked(house: House) -> None:
    house.crate("rusty")
    house.runner(DESCRIPTION)
    house.arena("build")

    done = house.arena("doctor")

    assert done.returncode == 0, done.stderr
    assert "rusty:cpu ok 1.2.3 on Abacus" in rows(done.stdout)
    assert "asking rusty:cpu" in done.stderr
    assert "rusty:elsewhere ok exists on nowhere only" in rows(done.stdout)


def test_a_runner_that_does_not_answer_is_missing(house: House) -> None:
    house.crate("rusty")
    house.fake("runner", "#!/bin/sh\necho 'libsomething.so: cannot open' >&2\nexit 3\n")
    house.arena("build")

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "exit code 3: libsomething.so: cannot open" in rows(done.stdout)
    assert "python -m arena_py build --force rusty:cpu" in done.stdout


def test_a_runner_of_another_version_is_missing(house: House) -> None:
    house.crate("rusty")
    house.runner(DESCRIPTION | {"framework": {"name": "rusty", "version": "1.2.2"}})
    house.arena("build")

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "it says version 1.2.2, its manifest 1.2.3" in rows(done.stdout)


def test_no_cargo_is_missing_with_the_command(house: House) -> None:
    house.crate("rusty")
    (house.fakes / "bin" / "cargo").unlink()

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "cargo missing not found" in rows(done.stdout)
    assert "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y\n" in done.stdout


def test_an_old_compiler_is_missing(house: House) -> None:
    house.crate("rusty")
    house.fake("rustc-version", "rustc 1.70.0 (old)\n")

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "rustc missing rustc 1.70.0, rusty needs 1.85" in rows(done.stdout)
    assert "rustup update stable\n" in done.stdout


def test_no_c_compiler_is_missing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.crate("rusty")
    monkeypatch.setenv("CC", "no-such-compiler")

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "no-such-compiler not found: cargo cannot link" in rows(done.stdout)


def test_a_vulkan_variant_needs_a_driver(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.crate("rusty")
    path = house.root / "manifests" / "frameworks" / "rusty.toml"
    path.write_text(path.read_text().replace('backend = "cpu"', 'backend = "vulkan"', 1))
    monkeypatch.setenv("VK_DRIVER_FILES", "/no/such/driver.json")

    done = house.arena("doctor")

    assert done.returncode == 1
    assert "rusty:cpu missing" in rows(done.stdout)
    assert "mesa-vulkan-drivers" in done.stdout
