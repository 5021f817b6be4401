"""PyTorch, eager: the canonical modules as they come from transformers and diffusers."""

from __future__ import annotations

import importlib.util
import platform
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_py.architectures import TASKS
from arena_py.contract.adapter import LoadSpec, Parameters, RunnerError
from arena_py.contract.messages import (
    CONTRACT,
    Backend,
    Build,
    Description,
    FrameworkVersion,
    Precision,
    TaskName,
    TaskOptions,
)
from arena_py.frameworks.host import cpu_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from arena_py.contract.adapter import Program, Tensors
    from arena_py.models.architecture import Architecture

LIBRARIES = ("transformers", "diffusers")


class PyTorch:
    """The framework `pytorch`."""

    name = "pytorch"
    precision: Precision = "f32"
    """The one precision of this framework: strict float32."""
    exact = False
    """Whether angles are computed in float64 too: the reference."""

    def __init__(self) -> None:
        self._device: torch.device | None = None

    def describe(self) -> Description:
        """From what is installed, without importing any of it."""
        return Description(
            contract=CONTRACT,
            runner=self.name,
            framework=FrameworkVersion("torch", version("torch")),
            backends=[Backend(name, device, [self.precision]) for name, device in self._backends().items()],
            architectures={architecture: list(tasks) for architecture, tasks in TASKS.items()},
            own_kernels=[],
            build=Build(
                compiler=f"{platform.python_implementation()} {platform.python_version()}",
                profile="release",
                features=[f"{library} {version(library)}" for library in LIBRARIES],
            ),
        )

    def _backends(self) -> dict[str, str]:
        """Name and device of every backend of this build of torch."""
        backends = {"cpu": cpu_name()}
        if _built_with_cuda():
            backends["cuda"] = "CUDA device"
        if sys.platform == "darwin" and platform.machine() == "arm64":
            backends["mps"] = "Apple GPU"
        return backends

    def load(self, spec: LoadSpec) -> TorchModel:
        """Build the canonical module and read its parameters from the weights file.

        Raises:
            RunnerError: `unsupported`, `invalid_weights`, `device_unavailable` or `out_of_memory`.
        """
        if spec.model.architecture not in TASKS:
            raise RunnerError("unsupported", f"architecture `{spec.model.architecture}`, only {', '.join(TASKS)}")
        backends = self._backends()
        if spec.backend not in backends:
            raise RunnerError("unsupported", f"backend `{spec.backend}`, only {', '.join(backends)}")
        if spec.precision != self.precision:
            raise RunnerError("unsupported", f"precision `{spec.precision}`, only {self.precision}")
        with memory_errors():
            return self._load(spec)

    def _load(self, spec: LoadSpec) -> TorchModel:
        import torch  # noqa: PLC0415 (seconds: not before the ready line)

        from arena_py.models import checkpoint, define  # noqa: PLC0415 (as above)

        device = _device(spec.backend)
        _use_threads(spec.threads)
        _use_strict_float32()
        model = define(spec.model.architecture, spec.model.config)
        with torch.device("meta"):
            module = model.build()
        dtype = torch.float64 if self.precision == "f64" else torch.float32
        checkpoint.load(module, spec.weights, dtype, device)
        model.complete(module, exact=self.exact)
        module.to(device)  # what `complete` made on the CPU
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in model.frozen)
        self._device = device
        return TorchModel(model, module, device, dtype)

    def device_bytes(self) -> int | None:
        """The peak of the memory that torch took on a device of its own."""
        if self._device is None or self._device.type != "cuda":
            return None
        import torch  # noqa: PLC0415 (loaded by now)

        peak: int = torch.cuda.max_memory_reserved(self._device)
        return peak


class TorchModel:
    """A module with its parameters on a device."""

    def __init__(
        self, architecture: Architecture, module: torch.nn.Module, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.architecture = architecture
        self.module = module
        self.device = device
        self.dtype = dtype

    @property
    def parameters(self) -> Parameters:
        """Its size, tied parameters once."""
        parameters = list(self.module.parameters())
        return Parameters(
            count=sum(parameter.numel() for parameter in parameters),
            bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        )

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """The task as a program; nothing is compiled.

        Raises:
            RunnerError: `unsupported` or `invalid_inputs`.
        """
        from arena_py.frameworks import torch_programs  # noqa: PLC0415 (needs torch)

        if task not in TASKS[self.architecture.name]:
            raise RunnerError("unsupported", f"task `{task}` of {self.architecture.name}")
        with memory_errors():
            return torch_programs.program(self, task, options, inputs)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Tell torch's ways of saying that memory is short from its other errors."""
    try:
        yield
    except MemoryError as error:
        raise RunnerError("out_of_memory", str(error) or "host memory") from error
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            raise RunnerError("out_of_memory", str(error).splitlines()[0]) from error
        raise


def _use_threads(threads: int) -> None:
    """Use so many threads inside an operation; operations run one after the other.

    Raises:
        RunnerError: `unsupported` when torch will not.
    """
    import torch  # noqa: PLC0415 (seconds)

    torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise RunnerError("unsupported", f"{threads} threads: torch uses {torch.get_num_threads()}")


def _use_strict_float32() -> None:
    """No TF32 and no bfloat16 inside a float32 matmul or convolution.

    Each library by itself: cuDNN's convolutions keep their own default, TF32, under `torch.backends.fp32_precision`.
    """
    from torch import backends  # noqa: PLC0415 (seconds)

    for operation in (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    ):
        operation.fp32_precision = "ieee"


def _device(backend: str) -> torch.device:
    import torch  # noqa: PLC0415 (seconds)

    available = {
        "cpu": lambda: True,
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if not available[backend]():
        raise RunnerError("device_unavailable", f"this machine has no device for torch's backend `{backend}`")
    return torch.device(backend)


def _built_with_cuda() -> bool:
    """Read from torch's own `version.py`, which imports nothing."""
    torch_spec = importlib.util.find_spec("torch")
    if torch_spec is None or torch_spec.origin is None:
        return False
    place = Path(torch_spec.origin).with_name("version.py")
    spec = importlib.util.spec_from_file_location("torch_version", place)
    if spec is None or spec.loader is None:
        return False
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cuda is not None
