"""Joules that the machine counts itself: RAPL for processor packages, NVML for NVIDIA's devices.

A counter counts all that happens on its part of the machine, not one process. It is read around each request of a
runner, while all other runners are idle, so that what it counts is the request and the idle power of the part.

RAPL: the kernel's powercap tree, `energy_uj` of each package, which starts again at zero after `max_energy_range_uj`
(Documentation/power/powercap/powercap.rst). NVML: `nvmlDeviceGetTotalEnergyConsumption`, millijoules since the driver
was loaded, from Volta on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from arena_py.measure import gpu

POWERCAP = Path("/sys/class/powercap")
ZONES = "intel-rapl:*"
"""AMD's packages have this name, too. Zones below a package are part of it, and have a second colon."""
UJ_PER_J = 1e6
MJ_PER_J = 1e3

Read: TypeAlias = Callable[[], "float | None"]


@dataclass(frozen=True)
class Counter:
    """One counter of the machine.

    Args:
        part: `cpu` or `gpu`.
        read: joules since some moment; none when it cannot be read.
        range_j: where it starts again at zero; never when absent.
        device: the number of the GPU that it counts, if it is one.
    """

    part: str
    read: Read
    range_j: float | None = None
    device: int | None = None


class Meter:
    """All counters that this machine lets its user read.

    Args:
        counters: those to read; what is found when absent.
    """

    def __init__(self, counters: list[Counter] | None = None) -> None:
        self._counters = [*rapl(), *nvml()] if counters is None else counters

    def read(self) -> list[float | None]:
        """What every counter says now, in joules."""
        return [counter.read() for counter in self._counters]

    def since(self, before: list[float | None], ours: Callable[[], frozenset[int]] = frozenset) -> dict[str, float]:
        """Joules by part since `before`; a part of which any counter cannot be read is left out.

        Args:
            before: what `read` said.
            ours: asks for the processes that are measured. Of several GPUs those count that any of them uses; where
                the driver does not know them, all do.
        """
        now = self.read()
        spent: dict[str, float] = {}
        unread: set[str] = set()
        several = len({counter.device for counter in self._counters if counter.device is not None}) > 1
        used = gpu.of(ours()) if several else set()
        for counter, old, new in zip(self._counters, before, now, strict=True):
            if used and counter.device is not None and counter.device not in used:
                continue
            if old is None or new is None or (new < old and counter.range_j is None):
                unread.add(counter.part)
                continue
            wrapped = counter.range_j if new < old and counter.range_j is not None else 0.0
            spent[counter.part] = spent.get(counter.part, 0.0) + new - old + wrapped
        return {part: joules for part, joules in spent.items() if part not in unread}


def rapl(root: Path = POWERCAP) -> list[Counter]:
    """The processor packages of the powercap tree; none where they cannot be read, which needs rights on many systems.

    Args:
        root: the tree.
    """
    found = []
    for zone in sorted(root.glob(ZONES)):
        name = _text(zone / "name") or ""
        if zone.name.count(":") == 1 and name.startswith("package") and _number(zone / "energy_uj") is not None:
            range_uj = _number(zone / "max_energy_range_uj")
            found.append(Counter("cpu", _in_joules(zone / "energy_uj"), range_uj / UJ_PER_J if range_uj else None))
    return found


def nvml() -> list[Counter]:
    """NVIDIA's devices; none without a driver or a device that counts."""
    import pynvml  # noqa: PLC0415 (`--help` has no use for it)

    try:
        pynvml.nvmlInit()
        devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []

    def reader(device: object) -> Read:
        def read() -> float | None:
            try:
                return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(device)) / MJ_PER_J
            except pynvml.NVMLError:
                return None

        return read

    counters = [Counter("gpu", reader(device), device=number) for number, device in enumerate(devices)]
    return [counter for counter in counters if counter.read() is not None]


def _in_joules(path: Path) -> Read:
    def read() -> float | None:
        number = _number(path)
        return None if number is None else number / UJ_PER_J

    return read


def _number(path: Path) -> int | None:
    text = _text(path) or ""
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
