"""The backends of the runner of PyTorch: a device of torch's, and a way to execute on it.

A build of torch has some of the devices; whether the machine has one is found when a model is loaded.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    import torch

Mode: TypeAlias = Literal["eager", "compile", "graphs"]
"""Operation by operation; compiled by inductor; recorded once as a CUDA graph and replayed."""


@dataclass(frozen=True)
class TorchBackend:
    """One backend: torch's own name of the device, and the mode."""

    device: Literal["cpu", "cuda", "mps", "xpu"]
    mode: Mode = "eager"


BACKENDS = {
    "cpu": TorchBackend("cpu"),
    "cpu-compile": TorchBackend("cpu", "compile"),
    "cuda": TorchBackend("cuda"),
    "cuda-compile": TorchBackend("cuda", "compile"),
    "cuda-graphs": TorchBackend("cuda", "graphs"),
    "rocm": TorchBackend("cuda"),
    "mps": TorchBackend("mps"),
    "xpu": TorchBackend("xpu"),
}
"""By the name that `load` asks for. A build for ROCm calls its device `cuda`."""
CXX_NAMES = ("g++", "clang++", "c++")


def built(cpu: str) -> dict[str, str]:
    """Name and device of every backend of this build of torch, read without importing it; `cpu` is the processor's."""
    found = {"cpu": cpu, "cpu-compile": cpu}
    version = _version_module()
    if getattr(version, "cuda", None):
        found |= dict.fromkeys(("cuda", "cuda-compile", "cuda-graphs"), "CUDA device")
    if getattr(version, "hip", None):
        found["rocm"] = "ROCm device"
    if getattr(version, "xpu", None):
        found["xpu"] = "Intel GPU"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found["mps"] = "Apple GPU"
    return found


def device_of(backend: str) -> torch.device:
    """The device of a backend.

    Raises:
        RunnerError: `device_unavailable` where the machine has none, or lacks the compiler that the mode needs.
    """
    import torch  # noqa: PLC0415 (seconds)

    available = {
        "cpu": lambda: True,
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "xpu": torch.xpu.is_available,
    }
    chosen = BACKENDS[backend]
    if not available[chosen.device]():
        raise RunnerError("device_unavailable", f"this machine has no device for torch's backend `{backend}`")
    if chosen.mode == "compile" and chosen.device == "cpu" and cxx() is None:
        raise RunnerError("device_unavailable", f"backend `{backend}` needs a C++ compiler, and there is none")
    return torch.device(chosen.device)


def cxx() -> str | None:
    """The C++ compiler for inductor: `$CXX`, else the first of the usual names on `PATH`."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else CXX_NAMES
    return next((path for name in names if (path := shutil.which(name))), None)


def _version_module() -> ModuleType | None:
    """Torch's own `version.py`, which imports nothing."""
    torch_spec = importlib.util.find_spec("torch")
    if torch_spec is None or torch_spec.origin is None:
        return None
    place = Path(torch_spec.origin).with_name("version.py")
    spec = importlib.util.spec_from_file_location("torch_version", place)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
