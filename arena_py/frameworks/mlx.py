"""MLX: the architectures as compiled functions; Linux CPU, CUDA and Metal by the same code."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from typing import TYPE_CHECKING

from arena_py.frameworks.arrays.framework import ArrayFramework, installed
from arena_py.frameworks.host import confine, cpu_name

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.engine import Engine

COMPILER = "g++"
"""What MLX itself looks for on Linux."""
CUDA_BUILDS = ("mlx-cuda-13", "mlx-cuda-12")


class Mlx(ArrayFramework):
    """The framework `mlx`."""

    name = "mlx"
    libraries = ("mlx-cpu", "mlx-metal", *CUDA_BUILDS)

    def backends(self) -> dict[str, str]:
        """The CPU, and the one kind of GPU that the installed build is for."""
        backends = {"cpu": cpu_name()}
        if sys.platform == "darwin" and platform.machine() == "arm64":
            backends["metal"] = "Apple GPU"
        elif any(installed(build) for build in CUDA_BUILDS):
            backends["cuda"] = "CUDA device"
        return backends

    def features(self) -> list[str]:
        """With what MLX compiles fused operations for a CPU; without it, it executes them one by one and is silent."""
        fuses = sys.platform != "linux" or shutil.which(COMPILER)
        return [*super().features(), *([] if fuses else [f"no {COMPILER}: operations are not fused"])]

    def engine(self, backend: str, threads: int) -> Engine:
        """MLX on a backend.

        A stream of its CPU backend computes on one thread, while Python's thread hands it the next operations: with
        tiny ones that is a third of a processor more, so that a runner which may use one processor is confined to it.

        Raises:
            RunnerError: `device_unavailable`.
        """
        os.environ.setdefault("MLX_ENABLE_TF32", "0")
        confine(threads)  # before its threads are made, which inherit it
        from arena_py.frameworks.arrays.mlx_engine import MlxEngine  # noqa: PLC0415 (not before the ready line)

        return MlxEngine(backend)
