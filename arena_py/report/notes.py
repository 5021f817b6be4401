"""What is to be known of single cells, told once where many share it."""

from __future__ import annotations

from arena_py.results.document import Cell, Run

NAMED = 2
"""So many cells of one note are named; more are counted, with their runners. Each keeps its notes in `run.json`."""


def notes(run: Run) -> list[str]:
    """A line for each note, in the order of the cells."""
    by_text: dict[str, list[Cell]] = {}
    for cell in run.cells:
        for note in cell.notes:
            by_text.setdefault(note, []).append(cell)
    return [line for note, cells in by_text.items() for line in _lines(note, cells)]


def _lines(note: str, cells: list[Cell]) -> list[str]:
    if len(cells) <= NAMED:
        return [f"{cell.case} {cell.label}: {note}" for cell in cells]
    labels = ", ".join(dict.fromkeys(cell.label for cell in cells))
    return [f"{len(cells)} cells of {labels}: {note}"]
