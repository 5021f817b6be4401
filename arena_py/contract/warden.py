"""The warden: a small process that outlives the driver, and ends what the driver had started when that is killed.

Ctrl-C and SIGTERM let the driver put things in order; `kill -9` and a machine out of memory do not. So the driver tells
its warden, over a pipe, whatever it starts; the pipe ends with the driver, and then the warden ends what is left: each
process with its group and descendants, and whatever carries a mark (`containment.MARK`). It leads a session of its own,
so that what is sent to the driver's group does not reach it, and sleeps until then.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

ROUND_S = 0.05
QUIET_ROUNDS = 3
"""So often in a row nothing may be found: what was being started when the driver died shows its mark a moment later."""
MOST_ROUNDS = 200
END_S = 5.0


class _Warden:
    """The driver's side."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def watch(self, what: dict[str, Any]) -> None:
        """Have it ended with the driver."""
        with self._lock:
            self._watched.append(what)
            self._tell({"watch": what})

    def forget(self, what: dict[str, Any]) -> None:
        """It ended."""
        with self._lock:
            if what in self._watched:
                self._watched.remove(what)
                self._tell({"forget": what})

    def dismiss(self) -> None:
        """The driver ends."""
        with self._lock:
            process, self._process = self._process, None
            if process and process.stdin and process.stdout:
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    process.stdin.close()
                    process.wait(END_S)
                process.stdout.close()

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process is None:
            self._start()
            return
        try:
            self._write(message)
        except OSError:
            # Somebody killed it.
            self.ended(self._process)
            self._start()

    def _start(self) -> None:
        """Start one that knows everything; without one the next run of Arena ends what is left."""
        from arena_py.contract import containment  # noqa: PLC0415 (the warden's own process imports it late)

        environment = {name: value for name, value in os.environ.items() if name != containment.MARK}
        try:
            self._process = containment.start(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
            )
            assert self._process.stdout
            # Its own start is over before anything is measured.
            self._process.stdout.readline()
            for what in self._watched:
                self._write({"watch": what})
        except OSError:
            self._process = None

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    @staticmethod
    def ended(process: subprocess.Popen[bytes]) -> None:
        """Collect one that was killed."""
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe
                pipe.close()
        process.wait()


_warden = _Warden()
atexit.register(_warden.dismiss)


def watch(what: int | Path) -> None:
    """Have it ended with the driver: a process with its group and all below it, or whatever carries a mark."""
    _warden.watch(_told(what))


def forget(what: int | Path) -> None:
    """It ended, with all that belonged to it."""
    _warden.forget(_told(what))


@contextlib.contextmanager
def over(pid: int) -> Iterator[None]:
    """Watch a process as long as the block lasts."""
    watch(pid)
    try:
        yield
    finally:
        forget(pid)


def _told(what: int | Path) -> dict[str, Any]:
    return {"pid": what} if isinstance(what, int) else {"mark": str(what)}


def main() -> None:
    """Listen until the driver is gone, then end what it left."""
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    import psutil  # noqa: PLC0415 (after the path)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    marks: list[Path] = []
    leaders: dict[int, psutil.Process] = {}
    for line in sys.stdin.buffer:
        ((verb, what),) = json.loads(line).items()
        if "mark" in what:
            (marks.append if verb == "watch" else marks.remove)(Path(what["mark"]))
        elif verb == "watch":
            with contextlib.suppress(psutil.Error):
                # Knows when it was started: a later process of the same number is another.
                leaders[what["pid"]] = psutil.Process(what["pid"])
        else:
            leaders.pop(what["pid"], None)
    quiet = 0 if marks or leaders else QUIET_ROUNDS
    for _ in range(MOST_ROUNDS):
        if quiet == QUIET_ROUNDS:
            return
        quiet = 0 if _end(list(leaders.values()), marks) else quiet + 1
        time.sleep(ROUND_S)


def _end(leaders: list[psutil.Process], marks: list[Path]) -> int:
    """Kill all that is left; how many processes that were."""
    import psutil  # noqa: PLC0415 (as above)

    from arena_py.contract import containment  # noqa: PLC0415 (as above)

    left = containment.marked(*marks) if marks else []
    for leader in leaders:
        with contextlib.suppress(psutil.Error):
            if leader.is_running() and containment.lives(leader):
                left += [leader, *containment.descendants(leader.pid)]
                containment.kill_group(leader.pid)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(left)


if __name__ == "__main__":
    main()
