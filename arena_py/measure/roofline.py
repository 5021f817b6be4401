"""The machine's measured roofline, and what of it a cell reaches.

A case cannot take less than its operations at the peak of arithmetic, nor less than moving its parameters once at the
peak of memory (Williams, Waterman & Patterson, CACM 52, 2009); `decode` reads them once a token. The share of the peak
is the larger of the two times over the measured one. Both peaks and the counts come from PyTorch's environment.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from arena_py import places, scratch
from arena_py.build import python_of
from arena_py.contract import warden
from arena_py.contract.conditions import runner_environment
from arena_py.contract.messages import UNREADABLE, Precision
from arena_py.errors import ArenaError
from arena_py.manifest import Case
from arena_py.measure.plan import Plan
from arena_py.measure.progress import Progress, Silent
from arena_py.results import store
from arena_py.results.document import Cell, Machine
from arena_py.results.noise import fingerprint
from arena_py.results.observed import Roofline
from arena_py.verify import generate

PEAKS = places.PACKAGE / "frameworks" / "peaks.py"
COUNT = places.PACKAGE / "models" / "count.py"
TIMEOUT_S = 600.0
NS_PER_S = 1e9

T = TypeVar("T", bound=msgspec.Struct)


CPU_BACKENDS = ("cpu", "cpu-compile", "flex")
"""The backends that compute on the processors."""
CUDA_BACKENDS = ("cuda", "cuda-compile", "cuda-graphs", "vulkan")
"""Those that may compute on an NVIDIA device; a cell says on which it did."""
OF_FLOAT32 = {"f64": 2.0, "f32": 1.0, "tf32": 1.0, "f16": 0.5, "bf16": 0.5}
"""The size of a parameter, to that of a float32."""


class _Peaks(msgspec.Struct, frozen=True):
    flops_per_s: float
    bytes_per_s: float
    device: str | None = None


class _Count(msgspec.Struct, frozen=True):
    flops: int


def roofline(machine: Machine, threads: int, progress: Progress | None = None) -> Roofline:
    """The peaks of this machine with so many threads, measured once and kept in `artifacts/roofline-*.json`.

    Args:
        machine: this one.
        threads: of the process that measures.
        progress: told when they are measured.

    Raises:
        ArenaError: PyTorch's environment is not built, or the program failed.
    """
    kept = places.artifacts() / f"roofline-{fingerprint(machine)}-{threads}.json"

    def measured() -> bytes:
        (progress or Silent()).phase("this machine", "measuring its peaks")
        return _run([str(PEAKS), str(threads)], threads)

    found = _cached(kept, _Peaks, measured)
    return Roofline(flops_per_s=found.flops_per_s, bytes_per_s=found.bytes_per_s, threads=threads)


def device_roofline(machine: Machine, threads: int, precision: Precision, progress: Progress | None = None) -> Roofline:
    """The peaks of PyTorch's first CUDA device, measured once and kept in `artifacts/roofline-*.json`.

    Args:
        machine: whose device.
        threads: of the process that measures.
        precision: of the matrix products.
        progress: told when they are measured.

    Raises:
        ArenaError: PyTorch's environment is not built or finds no CUDA device, or the program failed.
    """
    devices = hashlib.sha256("\n".join(machine.gpus).encode()).hexdigest()[:8]
    kept = places.artifacts() / f"roofline-{fingerprint(machine)}-{devices}-{precision}.json"

    def measured() -> bytes:
        (progress or Silent()).phase(", ".join(machine.gpus), f"measuring its peaks in {precision}")
        return _run([str(PEAKS), str(threads), "cuda", precision], threads)

    found = _cached(kept, _Peaks, measured)
    return Roofline(
        flops_per_s=found.flops_per_s,
        bytes_per_s=found.bytes_per_s,
        threads=threads,
        device=found.device,
        precision=precision,
    )


def flops(case: Case, progress: Progress | None = None) -> int:
    """The floating-point operations of one execution, counted once and kept in `artifacts/flops/`.

    Args:
        case: whose they are.
        progress: told when they are counted.

    Raises:
        ArenaError: they cannot be counted.
    """
    spec = {
        "architecture": case.model.file.architecture,
        "config": case.model.file.config,
        "shapes": case.shape.sizes,
        "task": case.contract_task,
        "new_tokens": case.options.new_tokens or 0,
    }
    content = msgspec.json.encode(spec, order="deterministic")
    recipe = content + generate.source_hash().encode()
    kept = places.artifacts() / "flops" / f"{hashlib.sha256(recipe).hexdigest()[:16]}.json"

    def counted() -> bytes:
        (progress or Silent()).phase(case.name, "counting its operations")
        with scratch.folder() as folder:
            path = folder / "spec.json"
            path.write_bytes(content)
            return _run([str(COUNT), str(path)], os.cpu_count() or 1)

    return _cached(kept, _Count, counted).flops


def share(cell: Cell, peak: Roofline) -> float | None:
    """How much of the roofline a cell reaches, 1 for all of it; `None` where it was not timed or counted."""
    if cell.summary is None or cell.flops is None or not cell.parameter_bytes:
        return None
    reads = cell.steps_per_execution if cell.task == "decode" and cell.steps_per_execution else 1
    moved = reads * cell.parameter_bytes * OF_FLOAT32[peak.precision]
    least_s = max(cell.flops / peak.flops_per_s, moved / peak.bytes_per_s)
    return least_s * NS_PER_S / cell.summary.median_ns.value


class Ceiling:
    """The roofline and the operations of a plan's cases, before anything is timed.

    Args:
        plan: whose cases.
        roofline: of the machine; none where it is not known.
        flops: of one execution, by case.
        problems: why something of it is not known.
        devices: the rooflines of devices, one a precision.
    """

    def __init__(
        self,
        plan: Plan,
        roofline: Roofline | None = None,
        flops: Mapping[str, int] | None = None,
        problems: Sequence[str] = (),
        devices: Sequence[Roofline] = (),
    ) -> None:
        self.roofline = roofline
        self.flops = dict(flops or {})
        self.problems = list(problems)
        self.devices = list(devices)
        self._cpu = {each.label for each in plan.candidates if each.variant.backend in CPU_BACKENDS}
        self._precisions = {
            each.label: each.variant.precision for each in plan.candidates if each.variant.backend in CUDA_BACKENDS
        }

    @classmethod
    def found(cls, plan: Plan, machine: Machine, progress: Progress) -> Ceiling:
        """Measured and counted now, or read where that was done before.

        Args:
            plan: whose cases.
            machine: that they are measured on.
            progress: told what is being done.
        """
        made = cls(plan)
        try:
            made.roofline = roofline(machine, plan.threads, progress)
            for precision in sorted(set(made._precisions.values())) if machine.gpus else ():
                made.devices.append(device_roofline(machine, plan.threads, precision, progress))
            for case in plan.cases:
                made.flops[case.name] = flops(case, progress)
        except ArenaError as error:
            made.problems.append(f"no share of the machine's peak: {error.message}")
        return made

    def of(self, cells: list[Cell]) -> list[Cell]:
        """The cells with their operations, and what of the peak they reach."""
        counted = [replace(cell, flops=self.flops.get(cell.case)) for cell in cells]
        return [
            replace(cell, peak_share=share(cell, peak)) if (peak := self._peak_of(cell)) else cell for cell in counted
        ]

    def _peak_of(self, cell: Cell) -> Roofline | None:
        """Of what the cell ran on; none where that was not measured."""
        if cell.label in self._cpu:
            return self.roofline
        return next(
            (
                each
                for each in self.devices
                if (each.device, each.precision) == (cell.device, self._precisions.get(cell.label))
            ),
            None,
        )


def _cached(path: Path, type_: type[T], make: Any) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, *UNREADABLE):
        content = make()
    try:
        found = msgspec.json.decode(content, type=type_)
    except msgspec.MsgspecError as error:
        raise ArenaError(f"{path.name}: {error}", exit_code=1) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write(path, content)
    return found


def _run(arguments: list[str], threads: int) -> bytes:
    try:
        with (
            subprocess.Popen(
                [str(python_of("pytorch")), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=runner_environment(threads, {}),
            ) as process,
            warden.over(process.pid),
        ):
            try:
                said, errors = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                process.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArenaError(f"{Path(arguments[0]).name}: {error}", exit_code=1) from error
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip().splitlines()
        raise ArenaError(
            f"{Path(arguments[0]).name}: {words[-1].removeprefix('error: ') if words else 'killed'}", exit_code=1
        )
    return said
