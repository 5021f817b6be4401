"""Numbers and foreign words as a reader sees them: units fitted, control characters gone."""

from __future__ import annotations

import unicodedata

from arena_py.results.document import Cell, Interval
from arena_py.results.observed import Breakdown, Roofline

NS_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
DIGITS = 3
WIDE = 10
"""So many times a value, half an interval is told as such: its figures would be those of a distribution's far tail."""


def plain(text: str) -> str:
    """Words of a runner, safe for any terminal: one line, no control or direction characters."""
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def number(value: float, digits: int = DIGITS) -> str:
    """A number with so many significant digits and no exponent, as far as it goes."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace(",", " ") if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    rounded = f"{value:.{digits}g}"
    return rounded if "e" in rounded else f"{value:.{max(0, digits - 1 - _exponent(value))}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def duration(ns: float) -> str:
    """`229 ms`."""
    scale, unit = _scale(ns)
    return f"{number(ns / scale)} {unit}"


def measured(interval: Interval) -> str:
    """`229 ± 2 ms`; `3.05 ~ 0.05 s`: a range of too few samples; `86 ± >10x ms`: launches with nothing in common."""
    scale, unit = _scale(interval.value)
    value, half = interval.value / scale, interval.half_width / scale
    decimals = len(number(value).partition(".")[2])
    if 0 < half < 0.5 * 10**-decimals:
        decimals += 1
    sign = "±" if interval.confidence >= 0.95 else "~"
    shown = number(value) if abs(value) >= 1000 else f"{value:.{decimals}f}"
    told = f">{WIDE}x" if half >= WIDE * value else f"{half:.{decimals}f}"
    return f"{shown} {sign} {told} {unit}"


def _scale(ns: float) -> tuple[float, str]:
    return next(((scale, unit) for scale, unit in NS_UNITS if ns >= scale), NS_UNITS[-1])


def size(count: int) -> str:
    """Bytes in binary units: `1.24 GiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{number(value)} {unit}"


def factor(interval: Interval) -> str:
    """`1.37`, a ratio."""
    return f"{interval.value:.2f}" if interval.value < 100 else number(interval.value)


def error_of(cell: Cell) -> str | None:
    """`3.1e-07 / 7.6e-06`: the worst tensor's error and its limit."""
    worst = cell.verification.worst if cell.verification else None
    if worst is None:
        return None
    return f"{'not finite' if worst.error is None else f'{worst.error:.1e}'} / {worst.limit:.1e}"


def loss_of(cell: Cell) -> str | None:
    """`12.345678 | 12.345679`: the loss and the reference's."""
    found = cell.verification
    if found is None or found.reference_loss is None:
        return None
    return f"{'none' if found.loss is None else f'{found.loss:.6f}'} | {found.reference_loss:.6f}"


def energy_of(cell: Cell) -> str | None:
    """`1.9 J cpu, 35 J gpu` of an execution; with a question mark where there are doubts (`run.json` has them)."""
    if cell.energy is None:
        return None
    parts = ", ".join(f"{number(joules.value)} J {part}" for part, joules in cell.energy.joules.items())
    return parts if cell.energy.valid else f"{parts} ?"


def throughput(cell: Cell) -> str | None:
    """`558 token/s`."""
    return f"{number(cell.summary.units_per_s.value)} {plain(cell.unit)}/s" if cell.summary else None


def spent(found: Breakdown) -> str:
    """Where the time of a run went, in one line."""
    parts = {
        "samples": found.samples_ns,
        "loads": found.loads_ns,
        "prepares": found.prepares_ns,
        "start-ups": found.startups_ns,
        "verifying": found.verify_ns,
        "everything else": found.other_ns,
    }
    told = ", ".join(f"{name} {ns / found.wall_ns:.0%}" for name, ns in parts.items()) if found.wall_ns else "nothing"
    return (
        f"{duration(found.wall_ns)}: {told}; {found.inside_share:.0%} inside samples, loads and prepares; the driver "
        f"took {found.driver_cpu_share:.1%} of a processor while samples were taken"
    )


def peaks(found: Roofline) -> str:
    """The roofline of the machine or of a device in one line."""
    whose = f"of {found.device}" if found.device else f"with {found.threads} threads"
    precision = "float32" if found.precision == "f32" else found.precision
    return (
        f"measured peaks {whose}: {number(found.flops_per_s / 1e9)} GFLOP/s in {precision} matrix products, "
        f"{number(found.bytes_per_s / 1e9)} GB/s from and to memory"
    )
