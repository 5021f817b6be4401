"""PyTorch: the canonical modules as they come from transformers and diffusers."""

from __future__ import annotations

import platform
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from arena_py.architectures import TASKS
from arena_py.contract.adapter import LoadSpec, Parameters, RunnerError
from arena_py.contract.messages import (
    CONTRACT,
    Backend,
    Build,
    Description,
    FrameworkVersion,
    TaskName,
    TaskOptions,
)
from arena_py.frameworks import torch_backends
from arena_py.frameworks.host import cpu_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from arena_py.contract.adapter import Program, Tensors
    from arena_py.frameworks.torch_backends import Mode
    from arena_py.models.architecture import Architecture

PROGRAMS: dict[Mode, str] = {"eager": "torch_programs", "compile": "torch_compile", "graphs": "torch_graphs"}
"""The module with the programs of each mode: they import torch, which takes seconds."""
LIBRARIES = ("transformers", "diffusers")


class PyTorch:
    """The framework `pytorch`."""

    name = "pytorch"
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
            backends=[Backend(name, device, self.precisions(name)) for name, device in self._backends().items()],
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
        return torch_backends.built(cpu_name())

    def precisions(self, backend: str) -> list[str]:
        """What a backend computes in: strict float32 first; TF32 inside products on CUDA; bfloat16 throughout."""
        tf32 = ["tf32"] if backend.startswith("cuda") else []
        return ["f32", *tf32, "bf16"]

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
        known = self.precisions(spec.backend)
        if spec.precision not in known:
            raise RunnerError("unsupported", f"precision `{spec.precision}`, only {', '.join(known)}")
        with memory_errors():
            return self._load(spec)

    def _load(self, spec: LoadSpec) -> TorchModel:
        import torch  # noqa: PLC0415 (seconds: not before the ready line)

        from arena_py.models import checkpoint, define  # noqa: PLC0415 (as above)

        device = torch_backends.device_of(spec.backend)
        _use_threads(spec.threads)
        _use_float32(tf32=spec.precision == "tf32")
        mode = torch_backends.BACKENDS[spec.backend].mode
        if mode == "compile":
            from arena_py.frameworks import torch_compile  # noqa: PLC0415 (as above)

            torch_compile.configure(spec.threads)
        model = define(spec.model.architecture, spec.model.config)
        with torch.device("meta"):
            module = model.build()
        dtype = {"f64": torch.float64, "bf16": torch.bfloat16}.get(spec.precision, torch.float32)
        checkpoint.load(module, spec.weights, dtype, device)
        model.complete(module, exact=self.exact)
        module.to(device)  # what `complete` made on the CPU
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in model.frozen)
        self._device = device
        return TorchModel(model, module, device, dtype, mode)

    def device_name(self) -> str | None:
        """What the driver calls the device; none for the CPU."""
        if self._device is None or self._device.type not in ("cuda", "xpu"):
            return None
        import torch  # noqa: PLC0415 (loaded by now)

        name: str = getattr(torch, self._device.type).get_device_name(self._device)
        return name

    def device_bytes(self) -> int | None:
        """The peak of the memory that torch took on a device of its own."""
        if self._device is None or self._device.type not in ("cuda", "xpu"):
            return None
        import torch  # noqa: PLC0415 (loaded by now)

        peak: int = getattr(torch, self._device.type).max_memory_reserved(self._device)
        return peak


class TorchModel:
    """A module with its parameters on a device."""

    def __init__(
        self,
        architecture: Architecture,
        module: torch.nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        mode: Mode = "eager",
    ) -> None:
        self.architecture = architecture
        self.module = module
        self.device = device
        self.dtype = dtype
        self.mode = mode

    @property
    def parameters(self) -> Parameters:
        """Its size, tied parameters once."""
        parameters = list(self.module.parameters())
        return Parameters(
            count=sum(parameter.numel() for parameter in parameters),
            bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        )

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """The task as a program, compiled or recorded where the backend says so.

        Raises:
            RunnerError: `unsupported` or `invalid_inputs`.
        """
        if task not in TASKS[self.architecture.name]:
            raise RunnerError("unsupported", f"task `{task}` of {self.architecture.name}")
        make: Callable[[TorchModel, TaskName, TaskOptions, Tensors], Program]
        make = import_module(f"arena_py.frameworks.{PROGRAMS[self.mode]}").program
        with memory_errors():
            return make(self, task, options, inputs)


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


def _use_float32(*, tf32: bool) -> None:
    """No bfloat16 inside a float32 matmul or convolution, and no TF32 unless it is asked for.

    Each library by itself: cuDNN's convolutions keep their own default, TF32, under `torch.backends.fp32_precision`.
    """
    from torch import backends  # noqa: PLC0415 (seconds)

    for operation in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        operation.fp32_precision = "tf32" if tf32 else "ieee"
    for operation in (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):
        operation.fp32_precision = "ieee"
