"""Packages that are compiled where their environment is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from house import House, forget
from test_crate import built, unbuilt

from arena_py.build import compiled, ensure, locate
from arena_py.manifest import framework

SETTINGS = '\n[compiled.snake-lib]\n"cmake.define.SCALES" = "ON"\n"cmake.define.FOR" = "{processor}"\n'


def snake(house: House, settings: str = SETTINGS) -> None:
    house.python_framework()
    manifest = house.root / "manifests" / "frameworks" / "snake.toml"
    manifest.write_text(manifest.read_text().partition("\n[compiled")[0] + settings)
    forget()


def test_the_settings_reach_the_build(house: House) -> None:
    snake(house)

    built(ensure()["snake:eager"])

    (call,) = house.calls("uv pip sync")
    assert "--config-settings-package=snake-lib:cmake.define.SCALES=ON" in call
    assert f"--config-settings-package=snake-lib:cmake.define.FOR={compiled.processor()}" in call


def test_another_setting_builds_again(house: House) -> None:
    snake(house)
    built(ensure()["snake:eager"])

    snake(house, SETTINGS.replace("ON", "OFF"))

    found = framework("snake")
    words = "its requirements or what it is compiled for changed since it was built"
    assert unbuilt(locate(found, found.variant("eager"))).reason == words


VARIANT = """
[[variants]]
name = "scaled"
backend = "cpu"
default = false
build_tools = ["scale-maker"]
compiled.snake-lib = { "cmake.define.SCALES" = "GREEN" }
"""


def test_a_variant_adds_its_settings_in_an_environment_of_its_own(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snake(house, SETTINGS + VARIANT)
    built(ensure()["snake:eager"])
    (tmp_path / "scale-maker").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    built(ensure(["snake:scaled"])["snake:scaled"])

    plain, own = house.calls("uv pip sync")
    assert "--config-settings-package=snake-lib:cmake.define.SCALES=ON" in plain
    assert "--config-settings-package=snake-lib:cmake.define.SCALES=GREEN" in own
    assert f"--config-settings-package=snake-lib:cmake.define.FOR={compiled.processor()}" in own
    assert "snake-scaled" in own


def test_a_program_that_the_build_needs_is_named(house: House) -> None:
    snake(house, SETTINGS + VARIANT)

    failure = unbuilt(ensure(["snake:scaled"])["snake:scaled"])

    assert failure.reason == "there is no scale-maker, snake-lib cannot be compiled"
    assert not house.calls("uv pip sync")


def test_another_processor_builds_again(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snake(house)
    built(ensure()["snake:eager"])
    for line in ("flags : sse avx", "flags : sse"):
        (tmp_path / "cpuinfo").write_text(
            f"processor : 0\nmodel name : Abacus\ncpu MHz : 1.0\n{line}\n\nprocessor : 1\n"
        )
        monkeypatch.setattr(compiled, "CPUINFO", tmp_path / "cpuinfo")
        found = framework("snake")
        assert "what it is compiled for changed" in unbuilt(locate(found, found.variant("eager"))).reason
        built(ensure()["snake:eager"])
    assert len(house.calls("uv pip sync")) == 3


def test_no_compiler_is_told_before_uv_is_started(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    snake(house)
    monkeypatch.setenv("CXX", "no-such-compiler")

    failure = unbuilt(ensure()["snake:eager"])

    assert failure.reason == "there is no C++ compiler, snake-lib cannot be compiled"
    assert failure.hint
    assert house.calls("uv pip sync") == []


def test_progress_is_ninja_s_last_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert compiled.counted(log) is None
    log.write_text("DEBUG configuring\n")
    assert compiled.counted(log) is None
    log.write_text("DEBUG [1/140] g++ a.cpp\nDEBUG [39/140] g++ b.cpp\nDEBUG b.cpp: warning: unused\n")
    assert compiled.counted(log) == "39 of 140"
