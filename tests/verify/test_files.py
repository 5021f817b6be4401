"""What is made once: whole or not at all, by one process, and known by its content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arena_py.errors import ArenaError
from arena_py.verify import weights
from arena_py.verify.files import made_once, whole_folder

MAKES_SLOWLY = """
import sys, time
from pathlib import Path
from arena_py.verify.files import made_once

def make(folder):
    print("making", flush=True)
    sys.stdin.readline()
    (folder / "file").write_text("theirs")
    return "theirs"

target = Path(sys.argv[1])
made_once(target, lambda: target.is_dir() or None, make)
"""


def read(target: Path) -> str | None:
    path = target / "file"
    return path.read_text() if path.is_file() else None


def test_where_two_want_the_same_one_makes_it_and_the_other_waits_for_whom_it_says(tmp_path: Path) -> None:
    target = tmp_path / "weights" / "tiny-0123"
    other = subprocess.Popen(
        [sys.executable, "-c", MAKES_SLOWLY, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin
    assert other.stdout
    assert other.stdout.readline() == "making\n"
    said: list[str] = []

    def note(words: str) -> None:
        said.append(words)
        assert other.stdin
        other.stdin.write("\n")
        other.stdin.close()

    def make(_folder: Path) -> str:
        raise AssertionError("it was made by the other")

    assert made_once(target, lambda: read(target), make, note) == "theirs"
    assert said == [f"waiting for process {other.pid}, which is making {target}"]
    assert other.wait(30) == 0
    assert [path.name for path in target.parent.iterdir()] == ["tiny-0123"]


def test_a_lock_of_who_was_killed_is_nobodys(tmp_path: Path) -> None:
    target = tmp_path / "tiny-0123"
    other = subprocess.Popen(
        [sys.executable, "-c", MAKES_SLOWLY, str(target)], stdin=subprocess.PIPE, stdout=-1, text=True
    )
    assert other.stdout
    other.stdout.readline()
    other.kill()
    other.communicate()

    def make(folder: Path) -> str:
        (folder / "file").write_text("ours")
        return "ours"

    assert made_once(target, lambda: read(target), make) == "ours"
    assert read(target) == "ours"


def test_what_fails_in_the_making_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    with whole_folder(target) as folder:
        (folder / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as folder:
        (folder / "file").write_text("half")
        raise KeyboardInterrupt
    assert read(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_weights_whose_content_changed_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    written = []

    def write(path: Path) -> None:
        written.append(path)
        path.write_bytes(b"12345678")

    path = weights.kept("tiny-0123", write)
    assert weights.kept("tiny-0123", write) == path
    assert len(written) == 1
    for damage in (b"12345679", b"1234"):
        path.write_bytes(damage)
        assert weights.kept("tiny-0123", write).read_bytes() == b"12345678"
    path.with_name(weights.DIGEST).unlink()
    weights.kept("tiny-0123", write)
    assert len(written) == 4


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArenaError, match="cannot be written"):
        made_once(tmp_path / "file" / "x", lambda: None, lambda _: None)
