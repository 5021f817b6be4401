"""What a cell's launches took besides their samples."""

from __future__ import annotations

import statistics as plain
from dataclasses import dataclass

from arena_py.results.document import Cell


@dataclass(frozen=True)
class Phases:
    """The other numbers of a cell: medians over its launches, memory the largest."""

    startup_ns: int | None
    load_ns: int
    prepare_ns: int
    first_ns: int
    peak_rss_bytes: int | None
    device_bytes: int | None


def phases(cell: Cell) -> Phases | None:
    """The phases of a cell; `None` when nothing was launched."""
    if not cell.launches:
        return None
    startups_ns = [launch.startup_ns for launch in cell.launches if launch.startup_ns is not None]
    return Phases(
        startup_ns=int(plain.median(startups_ns)) if startups_ns else None,
        load_ns=int(plain.median(launch.load_ns for launch in cell.launches)),
        prepare_ns=int(plain.median(launch.prepare_ns for launch in cell.launches)),
        first_ns=int(plain.median(launch.first_ns for launch in cell.launches)),
        peak_rss_bytes=max((launch.peak_rss_bytes for launch in cell.launches if launch.peak_rss_bytes), default=None),
        device_bytes=max((launch.device_bytes for launch in cell.launches if launch.device_bytes), default=None),
    )
