"""The devices that this build of llama.cpp has beside the CPU, by ggml's own registry."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

GPU_TYPES = (1, 2)
"""`GGML_BACKEND_DEVICE_TYPE_GPU` and `_IGPU`, in the order in which llama.cpp prefers them."""


def has_vulkan() -> bool:
    """Whether the package was compiled with Vulkan; nothing of it is loaded."""
    return any(_libraries().glob("*ggml-vulkan*"))


def gpu() -> str | None:
    """What the driver calls the GPU that llama.cpp takes: the first discrete one, else the first of all.

    Loads every backend.
    """
    registry, base = (ctypes.CDLL(str(_library(name))) for name in ("ggml", "ggml-base"))
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.argtypes, registry.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_description.restype = ctypes.c_char_p
    devices = [registry.ggml_backend_dev_get(index) for index in range(registry.ggml_backend_dev_count())]
    for kind in GPU_TYPES:
        for device in devices:
            if base.ggml_backend_dev_type(device) == kind:
                name: bytes = base.ggml_backend_dev_description(device)
                return name.decode("utf-8", "replace")
    return None


def _libraries() -> Path:
    spec = find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("llama_cpp", name="llama_cpp")
    return Path(spec.submodule_search_locations[0]) / "lib"


def _library(name: str) -> Path:
    """The shared library of that name, whatever the platform calls it."""
    patterns = (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll", f"lib{name}.so.*")
    return next(path for pattern in patterns for path in sorted(_libraries().glob(pattern)))
