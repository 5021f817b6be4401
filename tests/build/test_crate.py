"""Executables by cargo: built once, trusted only whole, and never instead of what was asked for."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from house import House

from arena_py.build import Built, NotBuilt, ensure, locate
from arena_py.errors import ArenaError
from arena_py.manifest import framework


def built(outcome: Built | NotBuilt) -> Built:
    assert isinstance(outcome, Built), outcome
    return outcome


def unbuilt(outcome: Built | NotBuilt) -> NotBuilt:
    assert isinstance(outcome, NotBuilt), outcome
    return outcome


def test_a_record_says_what_was_built_from_what(house: House) -> None:
    house.crate("rusty")

    outcome = built(ensure(["rusty"])["rusty:cpu"])

    executable = house.artifacts / "bin" / "arena-rusty"
    assert outcome.command == [str(executable)]
    assert os.access(executable, os.X_OK)
    assert outcome.shipped_bytes == executable.stat().st_size
    stored = msgspec.json.decode((house.artifacts / "bin" / "arena-rusty.json").read_bytes())
    assert stored == msgspec.to_builtins(outcome.record)
    assert stored["version"] == "1.2.3"
    assert stored["compiler"] == "rustc 1.95.0 (fake 2026-01-01)"
    assert stored["features"] == []
    assert sorted(path.name for path in executable.parent.iterdir()) == ["arena-rusty", "arena-rusty.json"]


def test_nothing_is_built_again_when_nothing_changed(house: House) -> None:
    house.crate("rusty")
    first = ensure()

    assert ensure() == first
    assert len(house.calls("cargo build")) == 1
    ensure(again=True)
    assert len(house.calls("cargo build")) == 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("rust_bins/rusty/src/main.rs", "its sources or cargo's settings changed since it was built"),
        ("rust_bins/rusty/src/new.rs", "its sources or cargo's settings changed since it was built"),
        ("rust_bins/rusty/Cargo.toml", "its sources or cargo's settings changed since it was built"),
        ("rust_bins/runner/src/lib.rs", "its sources or cargo's settings changed since it was built"),
        ("rust_bins/Cargo.toml", "its sources or cargo's settings changed since it was built"),
        ("rust_bins/rusty/Cargo.lock", "Cargo.lock changed since it was built"),
    ],
)
def test_a_change_builds_again(house: House, changed: str, reason: str) -> None:
    house.crate("rusty")
    ensure()

    with (house.root / changed).open("a") as file:
        file.write("\n# changed\n")

    rusty = framework("rusty")
    assert unbuilt(locate(rusty, rusty.variant("cpu"))).reason == reason
    built(ensure()["rusty:cpu"])
    assert len(house.calls("cargo build")) == 2


def test_what_does_not_reach_the_executable_builds_nothing(house: House) -> None:
    house.crate("rusty")
    ensure()

    for name in ("target/x", "tests/t.rs", "benches/b.rs", ".hidden", "../other/src/lib.rs"):
        path = house.root / "rust_bins" / "rusty" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed")

    ensure()
    assert len(house.calls("cargo build")) == 1


def test_another_compiler_or_other_settings_build_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.crate("rusty")
    ensure()

    house.fake("rustc-version", "rustc 1.96.0 (fake 2026-02-02)\n")
    assert built(ensure()["rusty:cpu"]).record.compiler == "rustc 1.96.0 (fake 2026-02-02)"
    monkeypatch.setenv("RUSTFLAGS", "-C target-cpu=native")
    ensure()
    assert len(house.calls("cargo build")) == 3


def test_an_executable_that_is_not_its_record_s_is_not_trusted(house: House) -> None:
    house.crate("rusty")
    ensure()

    (house.artifacts / "bin" / "arena-rusty").write_text("something else")

    rusty = framework("rusty")
    assert "not the one" in unbuilt(locate(rusty, rusty.variant("cpu"))).reason
    built(ensure()["rusty:cpu"])


@pytest.mark.parametrize("record", ["", "{", '{"schema": 999}', "[]"])
def test_a_broken_record_is_no_record(house: House, record: str) -> None:
    house.crate("rusty")
    ensure()

    (house.artifacts / "bin" / "arena-rusty.json").write_text(record)

    rusty = framework("rusty")
    assert unbuilt(locate(rusty, rusty.variant("cpu"))).reason == "not built yet"


def test_a_variant_with_features_has_an_executable_of_its_own(house: House) -> None:
    house.crate("rusty")

    outcome = built(ensure(["rusty:fast"])["rusty:fast"])

    assert outcome.command == [str(house.artifacts / "bin" / "arena-rusty-fast")]
    assert outcome.record.features == ["a", "z"]
    assert "--features a,z" in house.calls("cargo build")[0]
    rusty = framework("rusty")
    assert unbuilt(locate(rusty, rusty.variant("cpu"))).reason == "not built yet"


def test_a_variant_of_another_platform_is_declared_and_not_built(house: House) -> None:
    house.crate("rusty")

    outcome = unbuilt(ensure(["rusty:elsewhere"])["rusty:elsewhere"])

    assert outcome.declared
    assert "exists on nowhere only" in outcome.reason
    assert house.calls("cargo") == []


def test_one_failing_build_leaves_the_others_alone(house: House) -> None:
    for name in ("broken", "rusty"):
        house.crate(name)
    house.fake("fail-broken", "error[E0425]: cannot find value `x`\nerror: could not compile `broken`\n")

    outcomes = ensure()

    built(outcomes["rusty:cpu"])
    failure = unbuilt(outcomes["broken:cpu"])
    assert failure.reason == "cargo failed"
    assert failure.log_tail[-1] == "error: could not compile `broken`"
    assert failure.log == house.artifacts / "logs" / "build-broken.log"
    assert "cannot find value" in failure.log.read_text()
    assert sorted(path.name for path in (house.artifacts / "bin").iterdir()) == ["arena-rusty", "arena-rusty.json"]


def test_a_failing_build_never_falls_back_to_an_older_executable(house: House) -> None:
    house.crate("rusty")
    ensure()
    (house.root / "rust_bins" / "rusty" / "src" / "main.rs").write_text("wrong")
    house.fake("fail-rusty", "error: wrong\n")

    assert unbuilt(ensure()["rusty:cpu"]).reason == "cargo failed"
    rusty = framework("rusty")
    unbuilt(locate(rusty, rusty.variant("cpu")))


def test_sources_that_change_meanwhile_make_no_runner(house: House) -> None:
    house.crate("rusty")
    house.fake("edit").touch()

    failure = unbuilt(ensure()["rusty:cpu"])

    assert failure.reason == "its sources or cargo's settings changed while it was being built"
    (house.fakes / "edit").unlink()
    built(ensure()["rusty:cpu"])


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("error: linker `cc` not found", "install a C compiler and linker"),
        ("rustc: No space left on device (os error 28)", "free some disk"),
        ("error: failed to download from `https://x/`", "the package index cannot be reached"),
        ("process didn't exit successfully: rustc (signal: 9, SIGKILL: kill)", "set CARGO_BUILD_JOBS=1"),
    ],
)
def test_the_words_of_cargo_become_advice(house: House, said: str, hint: str) -> None:
    house.crate("rusty")
    house.fake("fail-rusty", said + "\n")

    assert hint in (unbuilt(ensure()["rusty:cpu"]).hint or "")


def test_without_cargo_the_command_to_get_it_is_told_and_the_others_are_built(house: House) -> None:
    house.crate("rusty")
    house.python_framework()
    (house.fakes / "bin" / "cargo").unlink()

    outcomes = ensure()

    failure = unbuilt(outcomes["rusty:cpu"])
    assert failure.reason == "cargo is not installed"
    assert failure.hint is not None
    assert failure.hint.startswith("curl ")
    built(outcomes["snake:eager"])


def test_without_cargo_an_executable_that_is_there_runs(house: House) -> None:
    house.crate("rusty")
    ensure()
    (house.fakes / "bin" / "cargo").unlink()

    built(ensure()["rusty:cpu"])


def test_an_old_compiler_is_refused_before_an_hour_of_building(house: House) -> None:
    house.crate("rusty")
    house.fake("rustc-version", "rustc 1.80.0 (old)\n")

    failure = unbuilt(ensure()["rusty:cpu"])

    assert failure.reason == "needs rustc 1.85, found rustc 1.80.0 (old)"
    assert failure.hint == "rustup update stable"
    assert house.calls("cargo build") == []


def test_another_version_in_the_lock_than_in_the_manifest_is_refused(house: House) -> None:
    house.crate("rusty")
    (house.root / "rust_bins" / "rusty" / "Cargo.lock").write_text('[[package]]\nname = "rusty"\nversion = "9.9.9"\n')

    assert unbuilt(ensure()["rusty:cpu"]).reason == "rusty.toml asks for version 1.2.3, its Cargo.lock has 9.9.9"


def test_a_crate_that_is_not_there_is_a_reason(house: House) -> None:
    house.crate("rusty")
    (house.root / "rust_bins" / "rusty").rename(house.root / "gone")

    assert unbuilt(ensure()["rusty:cpu"]).reason.startswith(("its sources cannot be read", "there are no sources"))


def test_cargo_s_folders_go_where_the_cache_is(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    house.crate("rusty")
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "cache"))

    ensure()

    assert (tmp_path / "cache" / "cargo" / "rusty" / "release" / "arena-rusty").is_file()
    assert not (house.root / "rust_bins" / "rusty" / "target").exists()


def test_unknown_names_are_the_user_s_mistake(house: House) -> None:
    house.crate("rusty")

    with pytest.raises(ArenaError, match="unknown framework: rutsy") as caught:
        ensure(["rutsy"])
    assert "did you mean rusty" in (caught.value.hint or "")
    with pytest.raises(ArenaError, match="unknown variant of rusty: slow"):
        ensure(["rusty:slow"])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [2, 15])
def test_an_interrupted_build_leaves_no_process_and_nothing_trusted(house: House, number: int) -> None:
    house.crate("rusty")
    house.fake("slow-cargo")
    driver = subprocess.Popen(
        house.command("build", "rusty"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    sleeper = wait_for(house.fakes / "sleeper")

    driver.send_signal(number)
    _, said = driver.communicate(timeout=30)

    assert driver.returncode == 128 + number
    assert "Traceback" not in said
    assert not alive(sleeper)
    assert list(house.artifacts.glob("bin/*")) == []
    (house.fakes / "slow-cargo").unlink()
    built(ensure()["rusty:cpu"])


def wait_for(path: Path) -> int:
    """The number in a file, when it appears."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text().strip()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True
