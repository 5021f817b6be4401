"""Two runs, cell by cell: what became slower, faster, wrong, or is not there any more, and what else differs."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from arena_py.measure import statistics
from arena_py.results.document import Cell, Interval, Run
from arena_py.results.noise import Floor, floor_of
from arena_py.results.observed import Roofline
from arena_py.results.overall import Overall
from arena_py.results.summary import steady

Verdict: TypeAlias = Literal[
    "regression", "improvement", "unclear", "tie", "newly wrong", "newly right", "not ranked", "gone", "new"
]
BROKEN = ("wrong", "out_of_memory", "crashed", "timed_out", "not_built")
MACHINE = (
    "cpu",
    "cores",
    "usable_threads",
    "memory_bytes",
    "architecture",
    "system",
    "kernel",
    "virtual",
    "governor",
    "gpus",
)
"""The facts of a machine that change its numbers."""


PEAKS_SHARE = 0.1
"""By which the measured peaks of one machine may differ: those of virtual ones differ by more from host to host."""
GIGA = 1e9


class CellDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one case in both runs."""

    case: str
    label: str
    verdict: Verdict
    before_ns: float | None = None
    after_ns: float | None = None
    ratio: Interval | None = None
    """How many times longer it takes in the second run."""
    noise: float = 0.0
    """A ratio no further from 1 than this is a tie: launches differ by as much, or the machine's own floor is there."""
    detail: str | None = None
    """Statuses and reasons where one of them did not pass."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`diff`: the second run against the first."""

    before: str
    after: str
    caveats: list[str]
    """What differs besides the numbers, and may be why they do."""
    cells: list[CellDifference]
    overall: list[Overall]

    def having(self, *verdicts: Verdict) -> list[CellDifference]:
        """The cells with one of these verdicts."""
        return [cell for cell in self.cells if cell.verdict in verdicts]


def difference(before: Run, after: Run, floor: Floor | None = None) -> Difference:
    """Compare two runs.

    Args:
        before: what is compared with.
        after: what is compared.
        floor: the machine's noise floor, when it is known.
    """
    old, new = ({(cell.case, cell.label): cell for cell in run.cells} for run in (before, after))
    cells = [_cell(old.get(key), new.get(key), after.seed, floor) for key in dict.fromkeys([*old, *new])]
    return Difference(
        before=before.id, after=after.id, caveats=list(_caveats(before, after)), cells=cells, overall=_overall(cells)
    )


def _cell(old: Cell | None, new: Cell | None, seed: int, floor: Floor | None) -> CellDifference:
    known = new or old
    assert known is not None
    found = CellDifference(
        case=known.case,
        label=known.label,
        verdict="not ranked",
        before_ns=old.summary.median_ns.value if old and old.summary else None,
        after_ns=new.summary.median_ns.value if new and new.summary else None,
    )
    if new is None or old is None:
        return replace(found, verdict="gone" if new is None else "new", detail=known.status)
    if old.status == "passed" and new.status in BROKEN:
        return replace(found, verdict="newly wrong", detail=_told(new))
    if old.status in BROKEN and new.status == "passed":
        return replace(found, verdict="newly right", detail=f"was {_told(old)}")
    if not (old.status == new.status == "passed") or not steady(old) or not steady(new):
        return replace(found, detail=old.status if old.status == new.status else f"{old.status}, now {_told(new)}")
    ratio = statistics.independent_ratio(
        [turn.ns for turn in steady(new)],
        [turn.ns for turn in steady(old)],
        seed=seed + zlib.crc32(f"{new.case} {new.label}".encode()),
        launches=([turn.launch for turn in steady(new)], [turn.launch for turn in steady(old)]),
    )
    spreads = [cell.summary.launch_spread for cell in (old, new) if cell.summary]
    known_floor = floor_of(floor, new.task)
    noise = max([known_floor, *(spread or 0.0 for spread in spreads)])
    verdict: Verdict = "regression" if ratio.value > 1 else "improvement"
    if statistics.is_tie(ratio, noise):
        verdict = "tie"
    elif None in spreads and not known_floor:
        # What launches differ by is more than what the turns of a single one do.
        verdict = "unclear"
    return replace(found, verdict=verdict, ratio=ratio, noise=noise)


def _told(cell: Cell) -> str:
    return f"{cell.status}: {cell.reason}" if cell.reason else cell.status


def _overall(cells: Iterable[CellDifference]) -> list[Overall]:
    ratios: dict[str, list[Interval]] = {}
    unclear: Counter[str] = Counter()
    for cell in cells:
        if cell.ratio is not None:
            ratios.setdefault(cell.label, []).append(cell.ratio)
            unclear[cell.label] += cell.verdict == "unclear"
    return [
        Overall(label=label, cases=len(found), ratio=statistics.geometric_mean(found), unclear=unclear[label])
        for label, found in ratios.items()
    ]


def _caveats(before: Run, after: Run) -> Iterator[str]:
    for name in MACHINE:
        yield from _unequal(f"machine, {name}", getattr(before.machine, name), getattr(after.machine, name))
    yield from _peaks(before.roofline, after.roofline)
    yield from _unequal("arena", before.arena, after.arena)
    yield from _unequal("threads", before.threads, after.threads)
    yield from _unequal("sampling", before.settings.sampling, after.settings.sampling)
    for precision in before.settings.gate.keys() | after.settings.gate.keys():
        limits = [run.settings.gate.get(precision) for run in (before, after)]
        yield from _unequal(f"gate of {precision}", *limits)
    old_files, new_files = ({each.case: each for each in run.cases} for run in (before, after))
    for case in old_files.keys() & new_files.keys():
        for name in ("weights_sha256", "inputs_sha256", "bound_inputs_sha256", "reference_sha256", "config"):
            pair = getattr(old_files[case], name), getattr(new_files[case], name)
            yield from _unequal(f"{case}, {name.removesuffix('_sha256').replace('_', ' ')}", *pair)
    old, new = ({(cell.case, cell.label): cell for cell in run.cells} for run in (before, after))
    said = set()
    for key in old.keys() & new.keys():
        for what, pair in _builds(old[key], new[key]):
            for line in _unequal(f"{new[key].label}, {what}", *pair):
                if line not in said:
                    said.add(line)
                    yield line


def _peaks(before: Roofline | None, after: Roofline | None) -> Iterator[str]:
    """Two machines of one name, such as virtual ones on unlike hosts, are known by what they reach."""
    if before is None or after is None or before.threads != after.threads:
        return
    for what, old, new, unit in (
        ("arithmetic", before.flops_per_s, after.flops_per_s, "GFLOP/s"),
        ("memory", before.bytes_per_s, after.bytes_per_s, "GB/s"),
    ):
        if abs(new / old - 1) > PEAKS_SHARE:
            yield (
                f"measured peak of {what}: {old / GIGA:,.0f} {unit}, now {new / GIGA:,.0f}: another machine of the "
                "same name, or one that was busy when its peaks were measured"
            )


def _builds(old: Cell, new: Cell) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What a variant was made from; what one of the runs does not know is not compared."""
    yield "boundary", (old.boundary, new.boundary)
    yield "precision", (old.precision, new.precision)
    yield "threads", (old.threads, new.threads)
    if old.build is not None and new.build is not None:
        for name in ("version", "features", "compiler", "lock_sha256", "source_sha256"):
            yield name.removesuffix("_sha256"), (getattr(old.build, name), getattr(new.build, name))


def _unequal(what: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{what}: {_short(old)}, now {_short(new)}"


def _short(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, str) and len(value) == 64 and value.isalnum():
        return value[:12]
    return str(value)
