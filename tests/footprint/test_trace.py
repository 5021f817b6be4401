"""Watching a process: what it opens, what it looks at, what it maps, with strace and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arena_py.contract.conditions import runner_environment
from arena_py.footprint import page_cache, trace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace and /proc are Linux's")

PROGRAM = """
import os, sys, json, threading
folder = sys.argv[1]
threading.Thread(target=lambda: open(os.path.join(folder, "thread ä.txt")).read()).start()
os.stat(os.path.join(folder, "seen.txt"))
open(os.path.join(folder, "written.txt"), "w").close()
try: open(os.path.join(folder, "absent.txt"))
except OSError: pass
os.chdir(folder); open("relative.txt").close()
print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("thread ä.txt", "seen.txt", "relative.txt"):
        (folder / name).write_text("x")
    return folder


def watched(files: Path, scratch: Path) -> trace.Trace:
    scratch.mkdir()
    watch = trace.Watch(scratch, python=True)
    process = subprocess.Popen(
        watch.command([sys.executable, "-c", PROGRAM, str(files)]),
        env=runner_environment(1, watch.environment()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    watch.look(process.pid)
    process.communicate(b"")
    return watch.finish()


def test_strace_sees_every_thread_and_what_is_only_looked_at(files, tmp_path):
    if trace.strace() is None:
        pytest.skip("strace is not installed, or may not trace here")
    found = watched(files, tmp_path / "scratch")

    assert found.how == "strace"
    assert {path.name for path in found.opened if path.parent == files} == {"thread ä.txt", "relative.txt"}
    assert files / "seen.txt" in found.looked_at
    assert any(path.name == "decoder.py" or path.name.startswith("decoder.cpython") for path in found.opened)
    assert any("libc.so" in path.name for path in found.mapped)
    assert not any(path.is_relative_to("/proc") for path in found.opened)


def test_without_strace_python_tells_itself(files, tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "strace", lambda: None)
    found = watched(files, tmp_path / "scratch")

    assert found.how.startswith("sys.addaudithook")
    assert {files / "thread ä.txt", files / "relative.txt"} <= found.opened
    assert files / "absent.txt" not in found.opened
    assert any("libc.so" in path.name for path in found.opened)
    # Imported before anything could watch; what is frozen into Python was never opened.
    assert any("encodings" in path.parts for path in found.opened)


def test_evicted_files_are_not_in_memory(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    with path.open("rb") as file:
        assert page_cache.resident(file.fileno(), 1_000_000) == 1.0
        share = page_cache.evict([path, tmp_path / "none"])
        if share == 0.0:
            pytest.skip("this file system keeps its files in memory")
        assert share == 1.0
        assert page_cache.resident(file.fileno(), 1_000_000) == 0.0
