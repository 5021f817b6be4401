"""What is in the making is somebody's while they live, and nobody's afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arena_py import leftovers, scratch

HALF_WAY = """
import os, signal, subprocess, sys
from pathlib import Path
from arena_py import locking, places, scratch
from arena_py.contract import containment

artifacts = places.artifacts()
for name in ("weights", "results/run", "bin"):
    (artifacts / name).mkdir(parents=True)
with (
    scratch.folder() as folder,
    scratch.folder(artifacts / "weights", ".tiny-0123-") as weights,
    scratch.replacing(artifacts / "results" / "run" / "run.json") as document,
    scratch.replacing(artifacts / "bin" / "arena-x") as executable,
    locking.held(artifacts / "weights", name=".tiny-0123.lock", note=print),
):
    for path in (folder / "locked" / "file", weights / "file", document, executable):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    (folder / "locked").chmod(0)
    variables = {**os.environ, containment.MARK: str(folder / "session")}
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    runner = subprocess.Popen(sleep, env=variables, stdout=subprocess.DEVNULL)
    print(runner.pid, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_a_killed_driver_left_goes_with_what_ran_in_it_and_nothing_else(artifacts: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout
    runner = int(driver.stdout.readline())
    (artifacts / "results" / "run" / "journal.jsonl").write_text("kept")
    (artifacts / "weights" / "tiny-9876").mkdir()
    (artifacts / "bin" / ".build.lock").write_text("")
    before = names(artifacts)
    assert leftovers.sweep() == []
    assert names(artifacts) == before

    driver.kill()
    driver.communicate()
    removed = leftovers.sweep()
    assert len(removed) == 5
    assert names(artifacts) == [
        "bin",
        "bin/.build.lock",
        "results",
        "results/run",
        "results/run/journal.jsonl",
        "scratch",
        "weights",
        "weights/tiny-9876",
    ]
    with pytest.raises(ProcessLookupError):
        for _ in range(500):
            os.kill(runner, 0)
            if "Z" in Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()[0]:
                raise ProcessLookupError
    assert leftovers.sweep() == []


def test_links_are_not_followed(artifacts: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "folder").mkdir(parents=True)
    (elsewhere / ".run.json.abcd1234").write_text("somebody's")
    artifacts.mkdir()
    (artifacts / "scratch").symlink_to(elsewhere)
    (artifacts / "bin").symlink_to(elsewhere)
    assert leftovers.sweep() == []
    assert (elsewhere / "folder").is_dir()


def test_where_nothing_is_nothing_is_removed(artifacts: Path) -> None:
    assert leftovers.sweep() == []


def test_a_file_that_is_taken_away_before_it_is_locked_is_made_again(artifacts: Path, monkeypatch) -> None:
    artifacts.mkdir()
    honest, made = scratch._lock, []

    def lock(path: Path) -> int:
        made.append(path)
        if len(made) == 1:
            path.unlink()
        return honest(path)

    monkeypatch.setattr(scratch, "_lock", lock)
    scratch.write(artifacts / "file", b"whole")
    assert (artifacts / "file").read_bytes() == b"whole"
    assert len(made) == 2
    assert names(artifacts) == ["file"]


def test_a_file_system_without_locks_is_written_to_all_the_same(artifacts: Path, monkeypatch) -> None:
    def lock(_path: Path) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(scratch, "_lock", lock)
    artifacts.mkdir()
    scratch.write(artifacts / "file", b"whole")
    with scratch.folder() as folder:
        (folder / "x").write_text("")
        assert leftovers.sweep() == []
    assert names(artifacts) == ["file", "scratch"]
