"""What a runner may take of the machine, and the watch that ends one that takes more.

Resident memory, processes and the scratch folder are looked at from outside, so they hold for whatever a runner starts
and on every system; the size of one file and the address space are limits of the kernel (Linux).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from arena_py.contract import containment
from arena_py.contract.messages import Positive

SHARE = 0.9
"""Of the machine's memory, and of the free disk, where a suite sets no number."""
LEAST_FILE_BYTES = 4 << 30
"""The default never forbids a smaller file: shared memory and caches count as files, too."""
TICK_S = 0.2
IDLE_S = 10.0
"""Between two looks at a runner that is asked nothing: many are alive while one is measured."""
SCAN_S = 0.5
SCAN_SHARE = 1000
"""Between two looks at all processes and the scratch folder, at least, and so many times what a look takes of a
processor: samples are being taken meanwhile."""
MOST_SCAN_S = 2.0
"""Between two looks, at most: with many processes alive a look is long, and what a runner takes grows meanwhile."""
MOST_FILES = 20_000
"""Files of a scratch folder that are weighed."""
GIB = 1 << 30


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[limits]` of a suite, for each runner."""

    memory_bytes: Positive | None = None
    """Resident, of the runner and all that it started; nine tenths of the machine's when absent."""
    address_space_bytes: Positive | None = None
    """`RLIMIT_AS`; none when absent: CUDA and just-in-time compilers reserve far more than they use."""
    file_bytes: Positive | None = None
    """Of one file, and of the scratch folder; nine tenths of the free disk, at least 4 GiB, when absent."""
    processes: Positive = 256
    """The runner and all that it started."""
    log_lines: Positive = 400
    """Of standard error that are kept: the last ones."""

    def most_memory_bytes(self) -> int:
        """Resident bytes that are allowed here."""
        return self.memory_bytes or int(SHARE * psutil.virtual_memory().total)

    def most_file_bytes(self, folder: Path) -> int:
        """Bytes of a file that are allowed below `folder`."""
        return self.file_bytes or max(LEAST_FILE_BYTES, int(SHARE * shutil.disk_usage(folder).free))


def impose(limits: Limits, pid: int, scratch: Path) -> None:
    """Set the kernel's limits on a runner that was just started; where there are none, the watch has to do."""
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 (not on Windows)

    file_bytes = limits.most_file_bytes(scratch)
    with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if limits.address_space_bytes:
            resource.prlimit(pid, resource.RLIMIT_AS, (limits.address_space_bytes, limits.address_space_bytes))


class LimitWatch(threading.Thread):
    """Looks at a runner until it is stopped, and has it ended when it takes too much.

    Args:
        limits: what is allowed.
        pid: of the runner.
        scratch: its folder.
        exceeded: told what it took; ends it.
    """

    def __init__(self, limits: Limits, pid: int, scratch: Path, exceeded: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._limits = limits
        self._pid = pid
        self._scratch = scratch
        self._exceeded = exceeded
        self._memory_bytes = limits.most_memory_bytes()
        self._scratch_bytes = limits.most_file_bytes(scratch)
        self._stopped = threading.Event()
        self._asked = threading.Event()
        self.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._asked.set()

    @contextlib.contextmanager
    def closely(self) -> Iterator[None]:
        """The runner is being asked something: look often."""
        self._asked.set()
        try:
            yield
        finally:
            self._asked.clear()

    def _pause(self) -> None:
        """Until the next look; a request shorter than a tick is never looked at."""
        if self._asked.is_set() or self._asked.wait(IDLE_S):
            self._stopped.wait(TICK_S)

    def run(self) -> None:
        """Look at a runner that is asked something every `TICK_S`, at all that it started less often."""
        runner, next_scan = None, 0.0
        with contextlib.suppress(psutil.Error):
            runner = psutil.Process(self._pid)
        while runner and not self._stopped.is_set():
            self._pause()
            try:
                what = self._too_much([runner])
                if not what and time.monotonic() >= next_scan:
                    # Not what passed meanwhile: on a busy machine a look waits more than it works.
                    before = time.thread_time()
                    what = self._too_much([runner, *containment.descendants(self._pid)]) or self._too_large()
                    took_s = time.thread_time() - before
                    next_scan = time.monotonic() + min(MOST_SCAN_S, max(SCAN_S, SCAN_SHARE * took_s))
            except psutil.NoSuchProcess:
                return
            except (psutil.Error, OSError):
                continue
            if what:
                self._exceeded(what)
                return

    def _too_much(self, processes: list[psutil.Process]) -> str | None:
        if len(processes) > self._limits.processes:
            return f"{len(processes)} processes, the limit is {self._limits.processes}"
        resident = 0
        for process in processes:
            try:
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                if process.pid == self._pid:
                    raise
        if resident > self._memory_bytes:
            return f"{resident / GIB:.2f} GiB of memory, the limit is {self._memory_bytes / GIB:.2f} GiB"
        return None

    def _too_large(self) -> str | None:
        taken = _bytes_below(self._scratch)
        if taken > self._scratch_bytes:
            return f"{taken / GIB:.2f} GiB of files, the limit is {self._scratch_bytes / GIB:.2f} GiB"
        return None


def _bytes_below(folder: Path) -> int:
    total = seen = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            seen += 1
            with contextlib.suppress(OSError):
                status = (Path(parent) / name).lstat()
                # What is allocated: a hole takes no disk.
                total += getattr(status, "st_blocks", 0) * 512 or status.st_size
        if seen > MOST_FILES:
            break
    return total
