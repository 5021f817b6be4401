"""Where the time of a run went, from what its cells and its watches say."""

from __future__ import annotations

from collections.abc import Sequence

from arena_py.measure.watch import Watch
from arena_py.results.document import Cell
from arena_py.results.observed import Breakdown


def breakdown(cells: Sequence[Cell], watches: Sequence[Watch], *, wall_ns: int, preparation_ns: int) -> Breakdown:
    """The breakdown of a run.

    Args:
        cells: all of the run.
        watches: of its cases.
        wall_ns: from the first launch to the last.
        preparation_ns: spent on weights, inputs and references before.
    """
    launches = [launch for cell in cells for launch in cell.launches]
    run_ns = sum(watch.run_ns for watch in watches)
    return Breakdown(
        wall_ns=wall_ns,
        startups_ns=sum(launch.startup_ns or 0 for launch in launches),
        loads_ns=sum(launch.load_ns for launch in launches),
        prepares_ns=sum(launch.prepare_ns + launch.first_ns for launch in launches),
        samples_ns=sum(ns for cell in cells for turn in cell.turns for ns in turn.ns),
        verify_ns=sum(watch.verify_ns for watch in watches),
        preparation_ns=preparation_ns,
        driver_cpu_share=sum(watch.driver_cpu_ns for watch in watches) / run_ns if run_ns else 0.0,
    )
