"""The small parts of building: the lock, the watch on cargo, sizes, progress, Vulkan's drivers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import House
from rich.console import Console

from arena_py import locking
from arena_py.build import NotBuilt, ensure, process, tools, vulkan
from arena_py.build.cargo import Watch
from arena_py.build.progress import Lines, duration, size
from arena_py.errors import ArenaError
from arena_py.footprint.size import bytes_of


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    said: list[str] = []
    with locking.held(tmp_path, note=said.append):
        assert said == []
        with (
            pytest.raises(ArenaError, match=f"is locked by process {os.getpid()}"),
            locking.held(tmp_path, note=said.append, timeout_s=0.3),
        ):
            pass
    assert said == [f"waiting for process {os.getpid()}, which is building into {tmp_path}"]
    with locking.held(tmp_path, note=said.append, timeout_s=0):
        pass


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from arena_py import locking\n"
        "with locking.held(Path(sys.argv[1]), note=print):\n    os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)

    with locking.held(tmp_path, note=lambda _: None, timeout_s=0):
        pass


def test_what_another_process_built_meanwhile_is_not_built_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.crate("rusty")
    real = locking.held

    def after_another(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(locking, "held", real)
        ensure()
        return real(*arguments, **options)

    monkeypatch.setattr(locking, "held", after_another)
    ensure()
    assert len(house.calls("cargo build")) == 1


def test_artifacts_that_cannot_be_written_are_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.crate("rusty")
    file = house.fake("a-file")
    monkeypatch.setenv("ARENA_ARTIFACTS", str(file / "below"))

    with pytest.raises(ArenaError, match="cannot be written") as caught:
        ensure()
    assert "ARENA_ARTIFACTS" in (caught.value.hint or "")


def artifact(name: str, kind: str = "lib", executable: str | None = None, package: str | None = None) -> str:
    message = {"reason": "compiler-artifact", "package_id": package or name, "executable": executable}
    return json.dumps(message | {"target": {"name": name, "kind": [kind]}, "fresh": False})


def test_the_watch_counts_crates_and_catches_the_executable() -> None:
    steps: list[tuple[str, int, int | None]] = []
    watch = Watch("arena-rusty", 2, lambda *step: steps.append(step))

    for line in (
        artifact("build-script-build", "custom-build", package="serde"),
        artifact("serde"),
        "not json",
        '{"reason":"build-script-executed","package_id":"serde"}',
        artifact("serde"),
        artifact("arena-rusty", "bin", "/t/release/arena-rusty"),
        artifact("other", "bin", "/t/release/other"),
        '{"reason":"build-finished","success":true}',
    ):
        watch.line(line)

    assert steps == [("serde", 1, 2), ("serde", 1, 2), ("arena-rusty", 2, 2), ("other", 3, 3)]
    assert watch.executable == Path("/t/release/arena-rusty")


def test_size_counts_a_file_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c").write_bytes(b"123")
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "a")

    assert bytes_of(tmp_path) == 8


def test_lines_speak_up_when_nothing_happens() -> None:
    now = [0.0]
    out = io.StringIO()
    lines = Lines(Console(file=out), clock=lambda: now[0])
    lines.begin("rusty", 1, 2)
    lines.step("serde", 1, 40)
    for now[0] in range(1, 31):
        lines.tick(now[0])
    lines.end("rusty", NotBuilt("cargo failed"))

    assert out.getvalue().splitlines() == [
        "rusty: building (1 of 2)",
        "rusty: 1 of 40, serde (10 s)",
        "rusty: 1 of 40, serde (20 s)",
        "rusty: 1 of 40, serde (30 s)",
        "rusty: not built: cargo failed",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (200.2, "3 min 20 s")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (14_200_000, "14.2 MB"), (5_929_801_125, "5.9 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_a_log_s_tail_is_printable(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n\x1b[31mtwo\xff\n" + b"three\n" * 2)

    assert process.tail(log, 3) == ("\ufffd[31mtwo\ufffd", "three", "three")
    assert process.tail(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("text", "numbers"), [("rustc 1.95.0 (5980 2026-04-14)", (1, 95, 0)), ("3.11", (3, 11)), ("none", ())]
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert tools.version_numbers(text) == numbers


def test_vulkan_drivers_are_manifests_whose_library_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "vulkan" / "icd.d"
    folder.mkdir(parents=True)
    (tmp_path / "lib.so").write_text("")
    libraries = {"bare": "libvulkan_lvp.so", "there": str(tmp_path / "lib.so"), "gone": "/no/such/lib.so"}
    for name, library in libraries.items():
        (folder / f"{name}.json").write_text(json.dumps({"ICD": {"library_path": library}}))
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text("[]")
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vulkan, "_folders", lambda: [tmp_path])
    assert vulkan.drivers() == ["bare", "there"]

    monkeypatch.setenv("VK_DRIVER_FILES", str(folder / "there.json"))
    assert vulkan.drivers() == ["there"]
    monkeypatch.setenv("VK_DRIVER_FILES", str(folder))
    assert vulkan.drivers() == ["bare", "there"]
