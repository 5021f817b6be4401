"""ONNX Runtime: graphs of the canonical modules, exported with their gradients and updates, executed without torch."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from arena_py.contract.adapter import LoadSpec, Parameters, RunnerError
from arena_py.contract.messages import CONTRACT, Backend, Build, Description, FrameworkVersion, TaskName, TaskOptions
from arena_py.frameworks.host import cpu_name

if TYPE_CHECKING:
    from arena_py.architectures import Configuration
    from arena_py.contract.adapter import Program, Tensors
    from arena_py.frameworks.onnx.sessions import Target

TASKS: dict[str, list[TaskName]] = {
    name: ["infer", "train", "step"] for name in ("llama", "smolvla-expert", "unet2d-condition", "resnet", "whisper")
}
PACKAGES = {
    "onnxruntime": (),
    "onnxruntime-gpu": ("cuda", "tensorrt"),
    "onnxruntime-directml": ("directml",),
}
"""The packages that hold it, which share an import name, and what each has besides the CPU."""
DEVICES = {
    "cuda": "CUDA device",
    "tensorrt": "CUDA device, by TensorRT",
    "directml": "DirectX 12 device",
    "coreml": "Core ML device",
}


class OnnxRuntime:
    """The framework `onnxruntime`."""

    name = "onnxruntime"

    def describe(self) -> Description:
        """From what is installed, without importing any of it."""
        package, found = _installed()
        return Description(
            contract=CONTRACT,
            runner=self.name,
            framework=FrameworkVersion(package, found),
            backends=[Backend(name, device, ["f32"]) for name, device in self._backends().items()],
            architectures={architecture: list(tasks) for architecture, tasks in TASKS.items()},
            own_kernels=[],
            build=Build(
                compiler=f"{platform.python_implementation()} {platform.python_version()}",
                profile="release",
                features=[],
            ),
        )

    def _backends(self) -> dict[str, str]:
        package, _ = _installed()
        names = [*PACKAGES[package], *(["coreml"] if sys.platform == "darwin" else [])]
        return {"cpu": cpu_name()} | {name: DEVICES[name] for name in names}

    def load(self, spec: LoadSpec) -> OnnxModel:
        """Check the configuration and read the parameters.

        Raises:
            RunnerError: `unsupported`, `invalid_weights`, `device_unavailable` or `out_of_memory`.
        """
        architecture = spec.model.architecture
        if architecture not in TASKS:
            raise RunnerError("unsupported", f"architecture `{architecture}`, only {', '.join(TASKS)}")
        backends = self._backends()
        if spec.backend not in backends:
            raise RunnerError("unsupported", f"backend `{spec.backend}`, only {', '.join(backends)}")
        if spec.precision != "f32":
            raise RunnerError("unsupported", f"precision `{spec.precision}`, only f32")
        from arena_py import architectures  # noqa: PLC0415 (numpy: not before the ready line)
        from arena_py.frameworks.onnx import sessions  # noqa: PLC0415 (as above)

        target = sessions.Target(spec.backend, spec.threads)
        target.require()
        config = architectures.read(architecture, spec.model.config)
        with sessions.memory_errors():
            return OnnxModel(spec, config, target)


class OnnxModel:
    """Parameters on a device, and the configuration that graphs are exported for."""

    def __init__(self, spec: LoadSpec, config: Configuration, target: Target) -> None:
        from arena_py.architectures import weights  # noqa: PLC0415 (as above)
        from arena_py.frameworks.onnx import sessions  # noqa: PLC0415 (as above)

        self.architecture = spec.model.architecture
        self.public: dict[str, Any] = spec.model.config
        self.config = config
        self.target = target
        self.stored = config.parameters()
        self.values = {
            parameter.name: sessions.value(target, array)
            for parameter, array in weights.read(spec.weights, self.stored)
        }

    @property
    def parameters(self) -> Parameters:
        """Its size, tied parameters once."""
        count = sum(each.elements for each in self.stored if not each.statistic)
        return Parameters(count=count, bytes=4 * count)

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """Export the task's graph, or take it from those that were kept, and open a session of it.

        Raises:
            RunnerError: `unsupported`, `invalid_inputs`, `device_unavailable` or `out_of_memory`.
        """
        from arena_py.frameworks.onnx import programs  # noqa: PLC0415 (as above)

        if task not in TASKS[self.architecture]:
            raise RunnerError("unsupported", f"task `{task}` of {self.architecture}")
        match task:
            case "infer":
                return programs.Infer(self, task, inputs)
            case "train":
                return programs.Train(self, task, inputs)
            case _:
                assert options.optimizer is not None
                return programs.Step(self, inputs, options.optimizer)


def _installed() -> tuple[str, str]:
    """The package that is installed, and its version."""
    for package in PACKAGES:
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError("onnxruntime")
