"""`--python-env current` and `--in-process`: what the interpreter that runs Arena has, by name and version."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest
from house import House, forget, write
from test_crate import built, unbuilt

from arena_py.build import ensure, identity_of, in_process, locate, python_of, using
from arena_py.errors import ArenaError
from arena_py.manifest import framework


@pytest.fixture
def installed(house: House) -> House:
    """A framework whose packages this interpreter has, in other versions than the manifest's."""
    house.python_framework()
    path = house.root / "manifests" / "frameworks" / "snake.toml"
    pins = '["MsgSpec==0.1.0", "numpy[extra]==0.2.0"]'
    write(path, path.read_text().replace('["Snake_Lib==4.5.6", "numpy==2.0.0"]', pins))
    forget()
    return house


def test_it_is_taken_as_it_is_and_the_versions_found_are_recorded(installed: House) -> None:
    with using("current"):
        outcome = built(ensure(["snake"])["snake:eager"])
        assert python_of("snake").samefile(sys.executable)

    assert outcome.command[0] == sys.executable
    assert outcome.command[-1] == "snake"
    record = outcome.record
    assert record.place == "current"
    assert record.version == version("msgspec")
    assert record.packages == {"MsgSpec": version("msgspec"), "numpy": version("numpy")}
    assert (record.lock_sha256, record.bytes, outcome.shipped_bytes) == (None, None, None)
    assert installed.calls("uv") == []
    assert not (installed.artifacts / "env").exists()


def test_outside_of_it_environments_are_meant_again(installed: House) -> None:
    snake = framework("snake")
    with using("current"):
        built(locate(snake, snake.variants[0]))
    assert unbuilt(locate(snake, snake.variants[0])).reason == "not built yet"


def test_a_missing_package_is_named_with_the_command_to_get_it(house: House) -> None:
    house.python_framework()
    with using("current"):
        failure = unbuilt(ensure(["snake"])["snake:eager"])
        with pytest.raises(ArenaError, match="has no Snake_Lib"):
            python_of("snake")

    assert failure.reason == f"the current interpreter ({sys.executable}) has no Snake_Lib"
    assert failure.hint == f"{sys.executable} -m pip install Snake_Lib==4.5.6 numpy==2.0.0"
    assert not failure.declared


def test_the_reference_is_kept_apart_by_what_computed_it(installed: House) -> None:
    lock = installed.root / "manifests" / "frameworks" / "snake.lock"
    own = identity_of("snake")
    with using("current"):
        assert version("numpy") in identity_of("snake")
    lock.write_text(lock.read_text() + "more==1\n")
    assert identity_of("snake") != own


def test_in_the_drivers_process_there_is_no_command(installed: House) -> None:
    outcome = built(in_process(framework("snake")))
    assert (outcome.command, outcome.in_process, outcome.record.place) == ([], "snake", "in-process")


def test_a_variant_is_held_to_its_own_requirements(house: House) -> None:
    house.python_framework(variants='[[variants]]\nname = "here"\nbackend = "cpu"\nrequirements = ["msgspec==0.1.0"]\n')
    with using("current"):
        outcomes = ensure(["snake:eager", "snake:here"])
    unbuilt(outcomes["snake:eager"])
    assert built(outcomes["snake:here"]).record.packages == {"msgspec": version("msgspec")}


def test_rust_runners_are_where_they_were(house: House) -> None:
    house.crate("rusty")
    with using("current"):
        assert built(ensure(["rusty"])["rusty:cpu"]).record.place == "own"


@pytest.mark.parametrize("verb", ["doctor", "list"])
def test_the_commands_look_there(installed: House, verb: str) -> None:
    done = installed.arena(verb, "--python-env", "current")
    assert "not built yet" not in done.stdout
    assert "has no" not in done.stdout
    assert "not built yet" in installed.arena(verb).stdout
