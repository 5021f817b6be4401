"""Reading a runner's pipes in the background, with bounded memory whatever comes out of them.

Each reader owns a duplicate of its descriptor: where a process that nobody could end keeps the other side open, the
thread stays behind with it, and the number is never that of another runner's pipe.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque

from arena_py.contract.messages import MAX_LINE_BYTES

CHUNK_BYTES = 1 << 16
WAITING_LINES = 64
"""Lines that wait for the driver; a runner that says more than it is asked stands still."""
LOG_LINE_CHARACTERS = 2000
STOP_POLL_S = 0.2


class TooLong(Exception):
    """A line longer than the contract allows."""


class _Reader(threading.Thread, ABC):
    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = os.dup(descriptor)
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        """Read, then let go of the descriptor."""
        try:
            self.read()
        finally:
            os.close(self._descriptor)

    @abstractmethod
    def read(self) -> None:
        """Everything until the end."""

    def stop(self) -> None:
        """Nothing is wanted any more; waits a moment for what is on its way."""
        self.join(0.5)
        self._stopped.set()
        self.join(0.5)

    def _chunk(self) -> bytes:
        try:
            return b"" if self._stopped.is_set() else os.read(self._descriptor, CHUNK_BYTES)
        except OSError:
            return b""


class Lines(_Reader):
    """Reads a pipe into a queue of (nanoseconds, line); `None` at its end, `TooLong` where it gave up."""

    def __init__(self, descriptor: int) -> None:
        self.lines: queue.Queue[tuple[int, bytes | TooLong | None]] = queue.Queue(maxsize=WAITING_LINES)
        super().__init__(descriptor)

    def read(self) -> None:
        """Queue every line; stand still while nobody takes them."""
        pending = bytearray()
        while chunk := self._chunk():
            now_ns = time.perf_counter_ns()
            pending += chunk
            *whole, rest = pending.split(b"\n")
            for line in whole:
                self._put(now_ns, bytes(line))
            pending = bytearray(rest)
            if len(pending) > MAX_LINE_BYTES:
                self._put(now_ns, TooLong())
                return
        self._put(time.perf_counter_ns(), None)

    def stop(self) -> None:
        """Nothing is wanted any more: what waits is dropped."""
        self._stopped.set()
        self.join(0.5)

    def _put(self, at_ns: int, line: bytes | TooLong | None) -> None:
        while not self._stopped.is_set():
            try:
                self.lines.put((at_ns, line), timeout=STOP_POLL_S)
            except queue.Full:
                continue
            return


class Log(_Reader):
    """Keeps the last lines of a pipe, and never lets it fill.

    Args:
        descriptor: of the pipe.
        lines: how many are kept.
    """

    def __init__(self, descriptor: int, lines: int) -> None:
        self._kept: deque[bytes] = deque(maxlen=lines)
        super().__init__(descriptor)

    def read(self) -> None:
        """Keep the last lines, cut where they are long."""
        pending = b""
        while chunk := self._chunk():
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                self._keep(line)
            if len(pending) > LOG_LINE_CHARACTERS:
                self._keep(pending)
                pending = b""
        if pending:
            self._keep(pending)

    def _keep(self, line: bytes) -> None:
        self._kept.append(line[:LOG_LINE_CHARACTERS])

    def tail(self, lines: int) -> list[str]:
        """The last lines, without what a terminal would obey."""
        texts = [line.decode("utf-8", "replace").rstrip() for line in list(self._kept)[-lines:]]
        return ["".join(c if c.isprintable() or c == "\t" else "�" for c in text) for text in texts]
