"""The losses of every step, side by side: the reference's, and how far each runner is from it."""

from __future__ import annotations

from arena_py.results.document import Cell


def curve_table(cells: list[Cell]) -> tuple[list[str], list[list[str]]] | None:
    """A row a step: the reference's loss and each runner's relative distance from it.

    Returns:
        Titles and rows; none where no cell has a curve.
    """
    drawn = [
        (cell.label, cell.verification) for cell in cells if cell.verification and cell.verification.reference_curve
    ]
    if not drawn:
        return None
    reference = drawn[0][1].reference_curve
    body = [
        [str(step + 1), f"{exact:.6f}", *(_distance(found.curve, step, exact) for _, found in drawn)]
        for step, exact in enumerate(reference)
    ]
    return ["step", "reference loss", *(label for label, _ in drawn)], body


def _distance(curve: list[float | None], step: int, exact: float) -> str:
    if step >= len(curve):
        return "missing"
    loss = curve[step]
    if loss is None:
        return "not finite"
    return f"{loss - exact:+.1e}" if exact == 0 else f"{(loss - exact) / exact:+.1e}"
