"""Files out of the page cache, so that a start is a cold one: `posix_fadvise(DONTNEED)`, and `mincore` as its witness.

Nothing of other processes is touched: a page that one of them maps stays, which `evicted` then shows.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

HOW = "posix_fadvise(DONTNEED) on every file that an execution opened"


def available() -> bool:
    """Whether this system has both calls."""
    return hasattr(os, "posix_fadvise") and os.name == "posix"


def evict(paths: Iterable[Path]) -> float:
    """Take files out of the page cache; the share of their bytes that is then not in memory, from 0 to 1.

    What cannot be opened is passed over.
    """
    total = gone = 0
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            size = os.fstat(descriptor).st_size
            if size:
                # Pages that were written and are not on disk yet cannot be dropped.
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                total += size
                gone += round(size * (1 - resident(descriptor, size)))
        finally:
            os.close(descriptor)
    return gone / total if total else 1.0


def resident(descriptor: int, size: int) -> float:
    """The share of a file's pages that are in memory, by mincore(2); 1 where it cannot be told."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = -(-size // mmap.PAGESIZE)
    with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        held = (ctypes.c_ubyte * pages)()
        view = (ctypes.c_char * size).from_buffer(memory)
        try:
            address = ctypes.c_void_p(ctypes.addressof(view))
            failed = libc.mincore(address, ctypes.c_size_t(size), held)
        finally:
            del view
        return 1.0 if failed else sum(page & 1 for page in held) / pages
