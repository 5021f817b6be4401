"""Whose process is whose."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from arena_py.contract import containment

NOTHING = [sys.executable, "-c", "pass"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_a_runner_that_is_being_started_is_no_orphan(tmp_path):
    # Before its program is there a child has the driver's own environment, without a mark.
    ending = containment.start(NOTHING)
    over = threading.Event()

    def end():
        while not over.is_set():
            containment.end(ending.pid, tmp_path, time.time() - 60)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        started = containment.start(
            NOTHING,
            env=os.environ | {containment.MARK: str(tmp_path / "another")},
            preexec_fn=lambda: time.sleep(0.3),
        )
        assert started.wait() == 0
    finally:
        over.set()
        thread.join()
        ending.wait()
        for process in (ending, started):
            containment.ended(process.pid)
