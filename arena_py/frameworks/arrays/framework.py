"""What JAX and MLX share as runners: a description from what is installed, and loading."""

from __future__ import annotations

import importlib.util
import platform
from abc import ABC, abstractmethod
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from arena_py.architectures import TASKS
from arena_py.contract.adapter import LoadSpec, Parameters, RunnerError
from arena_py.contract.messages import CONTRACT, Backend, Build, Description, FrameworkVersion

if TYPE_CHECKING:
    from arena_py.frameworks.arrays.engine import Engine
    from arena_py.frameworks.arrays.ops import Array
    from arena_py.frameworks.arrays.programs import ArrayModel


def installed(distribution: str) -> bool:
    """Whether a package is in this environment, without importing it."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


class ArrayFramework(ABC):
    """A framework of arrays and functions."""

    name: str
    """Of the framework, of its package and of the runner."""
    libraries: tuple[str, ...] = ()
    """Packages whose versions matter beside the framework's own."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    @abstractmethod
    def backends(self) -> dict[str, str]:
        """Name and device of every backend of this build, without touching a device."""

    @abstractmethod
    def engine(self, backend: str, threads: int) -> Engine:
        """The framework on a backend.

        Raises:
            RunnerError: `device_unavailable`, or `unsupported` when it cannot use so many threads.
        """

    def precisions(self, backend: str) -> list[str]:  # noqa: ARG002 (that of all, but where a framework says otherwise)
        """What a backend computes in: strict float32."""
        return ["f32"]

    def features(self) -> list[str]:
        """What of this environment changes what is measured."""
        return [f"{library} {version(library)}" for library in self.libraries if installed(library)]

    def describe(self) -> Description:
        """From what is installed, without importing any of it."""
        return Description(
            contract=CONTRACT,
            runner=self.name,
            framework=FrameworkVersion(self.name, version(self.name)),
            backends=[Backend(name, device, self.precisions(name)) for name, device in self.backends().items()],
            architectures={architecture: list(tasks) for architecture, tasks in TASKS.items()},
            own_kernels=[],
            build=Build(
                compiler=f"{platform.python_implementation()} {platform.python_version()}",
                profile="release",
                features=self.features(),
            ),
        )

    def load(self, spec: LoadSpec) -> ArrayModel:
        """Read the parameters from the weights file, each into the framework's own layout on the device.

        Raises:
            RunnerError: `unsupported`, `invalid_weights`, `device_unavailable` or `out_of_memory`.
        """
        if spec.model.architecture not in TASKS:
            raise RunnerError("unsupported", f"architecture `{spec.model.architecture}`, only {', '.join(TASKS)}")
        backends = self.backends()
        if spec.backend not in backends:
            raise RunnerError("unsupported", f"backend `{spec.backend}`, only {', '.join(backends)}")
        known = self.precisions(spec.backend)
        if spec.precision not in known:
            raise RunnerError("unsupported", f"precision `{spec.precision}`, only {', '.join(known)}")
        engine = self.engine(spec.backend, spec.threads)
        engine.use(spec.precision)
        with engine.memory_errors():
            model = _load(spec, engine)
        self._engine = engine
        return model

    def device_name(self) -> str | None:
        """What the driver calls the device; none for the CPU."""
        return self._engine.device_name() if self._engine else None

    def device_bytes(self) -> int | None:
        """The peak of the memory that was taken on a device of its own."""
        return self._engine.device_bytes() if self._engine else None


def _load(spec: LoadSpec, engine: Engine) -> ArrayModel:
    import numpy as np  # noqa: PLC0415 (not before the ready line)

    from arena_py.architectures import read, weights  # noqa: PLC0415 (as above)
    from arena_py.frameworks.arrays.network import network  # noqa: PLC0415 (as above)
    from arena_py.frameworks.arrays.programs import ArrayModel  # noqa: PLC0415 (as above)

    name = spec.model.architecture
    config = read(name, spec.model.config)
    graph = network(name, config, engine.ops)
    parameters = config.parameters()
    trained: dict[str, Array] = {}
    frozen: dict[str, Array] = {}
    for parameter, values in weights.read(spec.weights, parameters):
        axes = engine.ops.kernel_axes.get(values.ndim)
        laid_out = np.ascontiguousarray(values.transpose(axes)) if axes else values
        (trained if parameter.trained else frozen)[parameter.name] = engine.put(laid_out)
    engine.wait(trained, frozen)
    count = sum(each.elements for each in parameters if not each.statistic)
    return ArrayModel(name, config, graph, engine, trained, frozen, Parameters(count, 4 * count))


def has_module(name: str) -> bool:
    """Whether a module could be imported, without doing it."""
    return importlib.util.find_spec(name) is not None
