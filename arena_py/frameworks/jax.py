"""JAX: the architectures as jitted functions, compiled ahead of time for their shapes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.arrays.framework import ArrayFramework, has_module
from arena_py.frameworks.host import cpu_name

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.engine import Engine

CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")


class Jax(ArrayFramework):
    """The framework `jax`."""

    name = "jax"
    libraries = ("jaxlib",)

    def __init__(self) -> None:
        super().__init__()
        self._started: tuple[str, int] | None = None

    def backends(self) -> dict[str, str]:
        """The CPU, and a CUDA device where its plugin is installed."""
        backends = {"cpu": cpu_name()}
        if any(has_module(plugin) for plugin in CUDA_PLUGINS):
            backends["cuda"] = "CUDA device"
        return backends

    def precisions(self, backend: str) -> list[str]:
        """Strict float32, and TF32 inside products on CUDA."""
        return ["f32", "tf32"] if backend == "cuda" else ["f32"]

    def engine(self, backend: str, threads: int) -> Engine:
        """JAX on a backend; the first one decides for the process.

        XLA makes its thread pool when its backend starts, as large as `NPROC` says, and keeps it.

        Raises:
            RunnerError: `device_unavailable`, or `unsupported` for another backend or number of threads than before.
        """
        asked = (backend, threads)
        if self._started not in (None, asked):
            running = "{1} on `{0}`".format(*self._started)
            raise RunnerError(
                "unsupported", f"{threads} threads on `{backend}`: this process already runs {running}, start another"
            )
        if "jax" not in sys.modules:
            os.environ["NPROC"] = str(threads)
            os.environ["JAX_PLATFORMS"] = backend if backend == "cpu" else f"{backend},cpu"
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peak is then what was needed
        from arena_py.frameworks.arrays.jax_engine import JaxEngine  # noqa: PLC0415 (not before the ready line)

        engine = JaxEngine(backend)
        self._started = asked
        return engine
