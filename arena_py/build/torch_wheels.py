"""Where an environment's torch comes from: the package registry, or one of PyTorch's own indexes.

On Linux the registry's wheels bring CUDA with them, several gigabytes; PyTorch's index `cpu` has the same release
without. A lock holds the hashes of the registry's wheels and cannot hold those of another index. With one, uv resolves
again with the lock's versions as constraints: every package but torch's own keeps the hashes of the lock, torch's wheel
is held to the hash that its index states at the time, and the record says which index, version and hash it was.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from arena_py.build import lockfile
from arena_py.build.record import TorchWheels
from arena_py.errors import ArenaError
from arena_py.manifest import Variant

REGISTRY = "registry"
AUTO = "auto"
VARIABLE = "UV_TORCH_BACKEND"
"""uv's own variable for the choice: taken as ours, and kept from uv where the lock's hashes are the registry's."""
CHOICES = re.compile(r"auto|registry|cpu|xpu|cu\d+|rocm[\d.]+")
PROBE_URL = "https://download.pytorch.org/whl/cpu/torch/"
PROBE_TIMEOUT_S = 4.0
CUDA_DRIVER = Path("/proc/driver/nvidia/version")
PACKAGE = re.compile(r"^torch==", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """An index for torch's wheels, and why it is that one."""

    index: str
    why: str

    @property
    def arguments(self) -> list[str]:
        """What tells uv."""
        return [] if self.index == REGISTRY else ["--torch-backend", self.index]


def wanted(option: str | None) -> str:
    """What the user wants: the option, else uv's own variable, else `auto`.

    Raises:
        ArenaError: neither `auto`, `registry` nor the name of an index.
    """
    chosen = option or os.environ.get(VARIABLE) or AUTO
    if not CHOICES.fullmatch(chosen):
        named = "--torch-backend" if option else VARIABLE
        raise ArenaError(f"{named} {chosen}: no such backend", hint="auto, registry, cpu, or an index like cu130")
    return chosen


def holds_torch(lock: str) -> bool:
    """Whether a lock is of an environment with torch."""
    return PACKAGE.search(lock) is not None


def choose(asked: str, variant: Variant | None) -> Choice:
    """The index for a build; `auto` asks whether PyTorch's own can be reached, for at most `PROBE_TIMEOUT_S`.

    Args:
        asked: what `wanted` gave.
        variant: whose environment it is, when it is a variant's own.
    """
    if variant and variant.torch_backend:
        return Choice(variant.torch_backend, "its manifest asks for it")
    if asked != AUTO:
        return Choice(asked, "it was asked for")
    if sys.platform != "linux":
        return Choice(REGISTRY, f"the registry's wheels for {sys.platform} have no CUDA")
    if CUDA_DRIVER.exists() or shutil.which("nvidia-smi"):
        return Choice(REGISTRY, "this machine has a CUDA driver")
    if trouble := unreachable(PROBE_URL, PROBE_TIMEOUT_S):
        return Choice(REGISTRY, f"PyTorch's index cannot be reached: {trouble}")
    return Choice("cpu", "this machine has no CUDA driver")


def unreachable(url: str, timeout_s: float) -> str | None:
    """Why a page cannot be had within so many seconds; none when it can."""
    import urllib.request  # noqa: PLC0415 (slow: only where something is built)

    found: list[str | None] = [f"no answer within {timeout_s:g} s"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout_s):  # noqa: S310
                found[0] = None
        except (OSError, ValueError) as error:
            found[0] = str(getattr(error, "reason", error))

    # In a thread: looking up a name has no time limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    return found[0]


def merged(lock: str, resolved: str) -> str:
    """The packages of `resolved`, each with the lock's hashes where the lock holds that very version.

    Args:
        lock: the text of the lock.
        resolved: what uv resolved with an index of PyTorch, with hashes.

    Raises:
        ArenaError: a package that the lock does not hold, in that release.
    """
    held = {lockfile.normal(pin["name"]): (pin["version"], text) for pin, text in lockfile.entries(lock)}
    kept = []
    for pin, text in lockfile.entries(resolved):
        version, locked = held.get(lockfile.normal(pin["name"]), (None, ""))
        if pin["version"].partition("+")[0] != (version or "").partition("+")[0]:
            raise ArenaError(f"PyTorch's index needs {pin['name']} {pin['version']}, which the lock does not hold")
        kept.append(locked if pin["version"] == version else text)
    return "".join(kept)


def installed(choice: Choice, packages: str) -> TorchWheels:
    """The record of what was installed.

    Args:
        choice: the index.
        packages: what the environment was made from, pins with hashes.
    """
    pin, text = next(each for each in lockfile.entries(packages) if lockfile.normal(each[0]["name"]) == "torch")
    hashes = [] if choice.index == REGISTRY else re.findall(r"--hash=(\S+)", text)
    return TorchWheels(index=choice.index, why=choice.why, version=pin["version"], hashes=hashes)
