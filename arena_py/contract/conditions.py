"""Under which conditions a runner runs: its environment, and the time that each operation of the contract has."""

from __future__ import annotations

import os
from collections.abc import Mapping

DEFAULT_TIMEOUTS_S: Mapping[str, float] = {
    "ready": 60.0,
    "load": 300.0,
    "prepare": 600.0,
    "run": 600.0,
    "bind": 60.0,
    "outputs": 300.0,
    "usage": 10.0,
    "shutdown": 10.0,
}
PASSED_VARIABLES = (
    # The system: folders, language, the dynamic loader.
    "HOME", "LANG", "LC_ALL", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "APPDATA", "LOCALAPPDATA",
    "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "USERPROFILE", "WINDIR",
    # Which device, and where its driver is.
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_PATH",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "ROCM_PATH", "HSA_OVERRIDE_GFX_VERSION", "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR",
    "VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_LAYER_PATH", "MESA_VK_DEVICE_SELECT",
    # Where threads are pinned; how many there are is Arena's own.
    "OMP_PLACES", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
    # Compilers and caches.
    "CC", "CXX", "HF_HOME", "HF_HUB_CACHE", "ARENA_ONNX_EXPORTER", "ARENA_ONNX_GRAPHS",
)  # fmt: skip
"""Of the user's environment, what a runner sees; the rest could change what is measured, or is none of its business."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
POOLS: Mapping[str, str] = {"KMP_BLOCKTIME": "5"}
"""How long the threads of a pool spin after their work before they sleep: Intel's OpenMP for 5 ms instead of 200. GNU's
does so for about 8 ms by itself, and is left alone: `OMP_WAIT_POLICY=PASSIVE` would have its threads sleep between two
operations of one execution, which takes PyTorch a quarter to a half more time on 8 threads."""
OFFLINE: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""A runner has its files: nothing is fetched, and nothing told, while it is measured."""
SETTLED_S = 0.03
"""After so long no pool spins any more: whoever measures waits as long before another runner's turn."""


def runner_environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a runner: what is passed on of the user's, the thread counts, then the variant's own."""
    kept = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return kept | settings(threads, extra)


def settings(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The variables that decide how a runner executes: thread counts, pools, no network, then the variant's own."""
    common = dict.fromkeys(THREAD_VARIABLES, str(threads)) | dict(POOLS) | dict(OFFLINE)
    return common | {name: value.replace("{threads}", str(threads)) for name, value in extra.items()}
