"""`build` as its user sees it."""

from __future__ import annotations

from house import House


def test_it_says_what_it_built(house: House) -> None:
    house.crate("rusty")
    house.python_framework()

    done = house.arena("build")

    assert done.returncode == 0, done.stderr
    assert "rusty: building (1 of 2)" in done.stderr
    assert "snake: built 4.5.6" in done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.strip()] == [
        ["runner", "version"],
        ["rusty:cpu", "1.2.3"],
        ["snake:eager", "4.5.6"],
    ]


def test_the_second_time_it_builds_nothing(house: House) -> None:
    house.crate("rusty")
    house.arena("build")

    again = house.arena("build", "rusty")

    assert (again.returncode, again.stderr) == (0, "")
    assert "rusty:cpu" in again.stdout
    assert "building (1 of 1)" in house.arena("build", "rusty", "--force").stderr


def test_a_failure_shows_the_log_s_end_and_a_hint_and_the_others_are_built(house: House) -> None:
    house.crate("rusty")
    house.crate("alas")
    house.fake("fail-alas", "error: linker `cc` not found\n")

    done = house.arena("build")

    assert done.returncode == 1
    assert "rusty:cpu" in done.stdout
    assert "error: alas:cpu: cargo failed\n" in done.stderr
    assert "  | error: linker `cc` not found\n" in done.stderr
    assert "hint: install a C compiler" in done.stderr
    assert f"log: {house.artifacts}/logs/build-alas.log\n" in done.stderr


def test_no_cargo_is_an_error_with_the_command_to_get_it(house: House) -> None:
    house.crate("rusty")
    house.python_framework()
    (house.fakes / "bin" / "cargo").unlink()

    done = house.arena("build")

    assert done.returncode == 1
    assert "error: rusty:cpu: cargo is not installed\n" in done.stderr
    assert "sh.rustup.rs" in done.stderr
    assert "snake:eager" in done.stdout


def test_a_variant_that_exists_elsewhere_is_no_failure(house: House) -> None:
    house.crate("rusty")

    assert house.arena("build", "rusty:elsewhere").returncode == 0


def test_mistakes_are_usage_errors(house: House) -> None:
    house.crate("rusty")

    for words, told in (
        (["rutsy"], "error: unknown framework: rutsy\nhint: did you mean rusty? known: rusty\n"),
        (["rusty:x"], "error: unknown variant of rusty: x\nhint: known: cpu, fast, elsewhere\n"),
        (["--lok"], "error: unknown option: --lok"),
        (["--lock", "rusty"], "error: --lock is for python frameworks\n"),
    ):
        done = house.arena("build", *words)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(told)


def test_a_manifest_with_an_unknown_key_is_named(house: House) -> None:
    house.crate("rusty")
    path = house.root / "manifests" / "frameworks" / "rusty.toml"
    path.write_text('colour = "red"\n' + path.read_text())

    done = house.arena("build")

    assert done.returncode == 2
    assert f"error: {path}: " in done.stderr
    assert "colour" in done.stderr
    assert "hint: docs/manifests.md" in done.stderr


def test_lock_writes_the_lock_and_builds(house: House) -> None:
    house.python_framework()
    lock = house.root / "manifests" / "frameworks" / "snake.lock"
    lock.unlink()

    done = house.arena("build", "--lock", "snake")

    assert done.returncode == 0, done.stderr
    assert f"snake: wrote {lock}" in done.stderr
    assert lock.is_file()
