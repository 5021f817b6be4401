"""Environments by uv: from the lock alone, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from house import House
from test_crate import alive, built, unbuilt, wait_for

from arena_py import places
from arena_py.build import ensure, locate, python_of
from arena_py.build.lockfile import make
from arena_py.errors import ArenaError
from arena_py.manifest import framework


def test_a_record_says_what_was_built_from_what(house: House) -> None:
    house.python_framework()

    outcome = built(ensure()["snake:eager"])

    folder = house.artifacts / "env" / "snake"
    assert outcome.command[0] == str(folder / "bin" / "python")
    assert outcome.command[-2:] == [str(places.PACKAGE / "worker.py"), "snake"]
    assert outcome.record.version == "4.5.6"
    assert outcome.record.compiler == "Python " + ".".join(map(str, sys.version_info[:3]))
    assert outcome.record.executable_sha256 is None
    assert outcome.shipped_bytes == (folder / "bin" / "python").stat().st_size + 10
    assert (folder / "arena-build.json").is_file()
    assert python_of("snake") == folder / "bin" / "python"


def test_it_is_made_from_the_lock_with_its_hashes(house: House) -> None:
    house.python_framework()

    ensure()

    (call,) = house.calls("uv pip sync")
    assert "--require-hashes" in call
    assert call.endswith(str(house.root / "manifests" / "frameworks" / "snake.lock"))


def test_nothing_is_built_again_when_nothing_changed(house: House) -> None:
    house.python_framework()
    first = ensure()

    assert ensure() == first
    assert len(house.calls("uv pip sync")) == 1


def test_another_lock_builds_again(house: House) -> None:
    house.python_framework()
    ensure()

    with (house.root / "manifests" / "frameworks" / "snake.lock").open("a") as file:
        file.write("more==1.0\n")

    snake = framework("snake")
    assert unbuilt(locate(snake, snake.variant("eager"))).reason == "its lock changed since it was built"
    with pytest.raises(ArenaError, match="its lock changed") as caught:
        python_of("snake")
    assert caught.value.hint == "python -m arena_py build snake"
    built(ensure()["snake:eager"])
    assert len(house.calls("uv pip sync")) == 2


def test_an_environment_without_a_record_is_half_made(house: House) -> None:
    house.python_framework()
    ensure()
    folder = house.artifacts / "env" / "snake"
    (folder / "arena-build.json").unlink()
    (folder / "left-over").write_text("x")

    snake = framework("snake")
    assert unbuilt(locate(snake, snake.variant("eager"))).reason == "not built yet"
    built(ensure()["snake:eager"])
    assert not (folder / "left-over").exists()


def test_an_environment_whose_python_is_gone_is_built_again(house: House) -> None:
    house.python_framework()
    ensure()
    (house.artifacts / "env" / "snake" / "bin" / "python").unlink()

    snake = framework("snake")
    assert "no interpreter that starts" in unbuilt(locate(snake, snake.variant("eager"))).reason
    built(ensure()["snake:eager"])


def test_a_failure_shows_uv_s_words_and_leaves_nothing(house: House) -> None:
    house.python_framework()
    house.fake("fail-uv", "error: Failed to fetch: `https://x/simple/`\n  Caused by: dns error\n")

    failure = unbuilt(ensure()["snake:eager"])

    assert failure.reason == "uv failed while installing packages"
    assert failure.log_tail[-1] == "  Caused by: dns error"
    assert "cannot be reached" in (failure.hint or "")
    assert not (house.artifacts / "env" / "snake").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["fails", "is interrupted"])
def test_an_environment_that_is_there_stays_when_making_another(house: House, how: str) -> None:
    house.python_framework()
    before = built(ensure()["snake:eager"])
    if how == "fails":
        house.fake("fail-uv", "error: no space\n")
        unbuilt(ensure(again=True)["snake:eager"])
    else:
        house.fake("slow-uv")
        driver = subprocess.Popen(house.command("build", "--force"), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        wait_for(house.fakes / "sleeper")
        driver.send_signal(2)
        driver.communicate(timeout=30)

    snake = framework("snake")
    assert built(locate(snake, snake.variant("eager"))) == before
    assert [path.name for path in (house.artifacts / "env").iterdir()] == ["snake"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_after_a_build_that_was_killed_nothing_runs_and_what_worked_before_is_still_there(house: House) -> None:
    house.python_framework()
    before = built(ensure()["snake:eager"])
    house.fake("slow-uv")
    driver = subprocess.Popen(house.command("build", "--force"), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    sleeper = wait_for(house.fakes / "sleeper")
    driver.send_signal(9)
    driver.communicate(timeout=30)
    assert not alive(sleeper)

    (house.fakes / "slow-uv").unlink()
    house.fake("fail-uv", "error: no space\n")
    unbuilt(ensure()["snake:eager"])
    snake = framework("snake")
    assert built(locate(snake, snake.variant("eager"))) == before
    assert [path.name for path in (house.artifacts / "env").iterdir()] == ["snake"]


def test_a_full_cache_needs_no_network(house: House) -> None:
    house.python_framework()
    built(ensure()["snake:eager"])

    assert all(line.startswith("1 ") for line in networks(house))


@pytest.mark.parametrize(
    "words",
    [
        "Network connectivity is disabled, but the requested data",
        "Packages were unavailable because the network was disabled",
    ],
)
def test_what_the_cache_lacks_is_fetched(house: House, words: str) -> None:
    house.python_framework()
    house.fake("empty-cache", words)
    built(ensure()["snake:eager"])

    assert [line.split()[0] for line in networks(house) if " pip sync " in line] == ["1", "online"]


def test_what_fails_for_another_reason_is_not_tried_twice(house: House) -> None:
    house.python_framework()
    house.fake("empty-cache", "the hash does not match")
    assert "hash" in unbuilt(ensure()["snake:eager"]).log_tail[-1]
    assert len(house.calls("uv pip sync")) == 1


def networks(house: House) -> list[str]:
    return (house.fakes / "networks").read_text().splitlines()


def test_without_uv_the_command_to_get_it_is_told(house: House) -> None:
    house.python_framework()
    (house.fakes / "bin" / "uv").unlink()

    failure = unbuilt(ensure()["snake:eager"])

    assert (failure.reason, failure.hint) == ("uv is not installed", "python -m pip install uv")


def test_a_lock_that_lacks_a_requirement_is_refused(house: House) -> None:
    house.python_framework()
    (house.root / "manifests" / "frameworks" / "snake.lock").write_text("snake-lib==4.5.5\nnumpy==2.0.0\n")

    failure = unbuilt(ensure()["snake:eager"])

    assert "does not hold Snake_Lib==4.5.6" in failure.reason
    assert failure.hint == "python -m arena_py build --lock snake"


def test_a_missing_lock_is_a_reason(house: House) -> None:
    house.python_framework()
    (house.root / "manifests" / "frameworks" / "snake.lock").unlink()

    assert unbuilt(ensure()["snake:eager"]).hint == "python -m arena_py build --lock snake"


def test_a_lock_is_made_from_the_manifest_for_every_platform(house: House) -> None:
    house.python_framework()
    path = house.root / "manifests" / "frameworks" / "snake.lock"
    path.unlink()

    assert make(framework("snake"), house.artifacts / "log") == path

    assert path.read_text() == "Snake_Lib==4.5.6\nnumpy==2.0.0\n"
    (call,) = house.calls("uv pip compile")
    assert "--universal" in call
    assert "--generate-hashes" in call
    assert sorted(each.name for each in path.parent.iterdir()) == ["snake.lock", "snake.toml"]


@pytest.mark.parametrize("extra", ["--index-url https://x/simple", "other @ https://x/o.whl"])
def test_a_lock_never_names_an_address(house: House, extra: str) -> None:
    house.python_framework()
    path = house.root / "manifests" / "frameworks" / "snake.lock"
    before = path.read_text()
    house.fake("lock-extra", extra + "\n")

    with pytest.raises(ArenaError, match="would name an address"):
        make(framework("snake"), house.artifacts / "log")
    assert path.read_text() == before


def test_a_rust_framework_has_no_python(house: House) -> None:
    house.crate("rusty")

    with pytest.raises(ArenaError, match="rusty is not a python framework"):
        python_of("rusty")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupted_build_leaves_no_process_and_nothing_trusted(house: House) -> None:
    house.python_framework()
    house.fake("slow-uv")
    driver = subprocess.Popen(
        house.command("build"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    sleeper = wait_for(house.fakes / "sleeper")

    driver.send_signal(2)
    _, said = driver.communicate(timeout=30)

    assert driver.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert not alive(sleeper)
    assert not (house.artifacts / "env" / "snake").exists()
