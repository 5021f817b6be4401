"""Where the time of a run went, from what its cells and its watches say."""

from __future__ import annotations

from collections.abc import Sequence

from arena_py.results.document import Cell
from arena_py.results.journal import Spent
from arena_py.results.observed import Breakdown


def breakdown(cells: Sequence[Cell], spent: Sequence[Spent], *, preparation_ns: int) -> Breakdown:
    """The breakdown of a run.

    Args:
        cells: all of the run.
        spent: on each of its cases.
        preparation_ns: spent on weights, inputs and references before.
    """
    launches = [launch for cell in cells for launch in cell.launches]
    run_ns = sum(each.run_ns for each in spent)
    return Breakdown(
        wall_ns=sum(each.wall_ns for each in spent),
        startups_ns=sum(launch.startup_ns or 0 for launch in launches),
        loads_ns=sum(launch.load_ns for launch in launches),
        prepares_ns=sum(launch.prepare_ns + launch.first_ns for launch in launches),
        samples_ns=sum(ns for cell in cells for turn in cell.turns for ns in turn.ns),
        verify_ns=sum(each.verify_ns for each in spent),
        preparation_ns=preparation_ns,
        driver_cpu_share=sum(each.driver_cpu_ns for each in spent) / run_ns if run_ns else 0.0,
    )
