"""llama.cpp through llama-cpp-python's low-level bindings: `llama`, forward only.

The weights are converted at `load` to the framework's own format, GGUF, in a file of the runner's working directory
that goes away as soon as llama.cpp has read it.
"""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from arena_py.architectures.llama import LlamaConfig
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
from arena_py.frameworks.host import cpu_name, scratch_folder
from arena_py.frameworks.llamacpp_devices import has_vulkan

if TYPE_CHECKING:
    from arena_py.contract.adapter import Program, Tensors
    from arena_py.frameworks.llamacpp_native import NativeModel

ARCHITECTURE = "llama"
TASKS: list[TaskName] = ["infer", "decode"]
PRECISIONS: dict[str, Precision] = {"cpu": "f32", "vulkan": "tf32"}
"""Of each backend: ggml's Vulkan rounds keys and values of attention to half precision, whose ten bits are TF32's."""
ACTIVATIONS = ("silu", "swish")
"""Two names of transformers' for the one that llama.cpp's `llama` has."""
MOST_LAYERS = 512
"""`LLAMA_MAX_LAYERS`; llama.cpp aborts the process on more."""


class LlamaCpp:
    """The framework `llama-cpp`."""

    def __init__(self) -> None:
        self._gpu: str | None = None

    def device_name(self) -> str | None:
        """What the driver calls the GPU; none for the CPU."""
        return self._gpu

    def describe(self) -> Description:
        """From what is installed, without loading the library."""
        return Description(
            contract=CONTRACT,
            runner="llama-cpp",
            framework=FrameworkVersion("llama-cpp-python", version("llama-cpp-python")),
            backends=[Backend(name, device, [PRECISIONS[name]]) for name, device in _backends().items()],
            architectures={ARCHITECTURE: list(TASKS)},
            own_kernels=[],
            build=Build(
                compiler=f"{platform.python_implementation()} {platform.python_version()}",
                profile="release",
                features=[f"gguf {version('gguf')}"],
            ),
        )

    def load(self, spec: LoadSpec) -> LlamaCppModel:
        """Convert the weights file to GGUF and let llama.cpp read it.

        Raises:
            RunnerError: `unsupported`, `invalid_weights`, `device_unavailable` or `out_of_memory`.
        """
        if spec.model.architecture != ARCHITECTURE:
            raise RunnerError(
                "unsupported",
                f"architecture `{spec.model.architecture}`: llama.cpp runs language models, of the contract's only "
                f"`{ARCHITECTURE}`",
            )
        if spec.backend not in (backends := _backends()):
            raise RunnerError("unsupported", f"backend `{spec.backend}`, only {', '.join(backends)}")
        if spec.precision != (precision := PRECISIONS[spec.backend]):
            raise RunnerError("unsupported", f"precision `{spec.precision}`, only {precision} on {spec.backend}")
        config = LlamaConfig.parse(spec.model.config)
        _require_expressible(config)

        from arena_py.frameworks import llamacpp_gguf as gguf  # noqa: PLC0415 (numpy: not before the ready line)
        from arena_py.frameworks.llamacpp_native import NativeModel  # noqa: PLC0415 (as above)

        with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="gguf-") as folder:
            converted = Path(folder) / "model.gguf"
            gguf.write(config, spec.weights, converted)
            native = NativeModel(converted, gpu=spec.backend != "cpu")
        self._gpu = native.gpu
        return LlamaCppModel(config, native, spec.threads)


def _backends() -> dict[str, str]:
    """Name and device of every backend of this build, without loading the library."""
    return {"cpu": cpu_name()} | ({"vulkan": "Vulkan device"} if has_vulkan() else {})


def _require_expressible(config: LlamaConfig) -> None:
    """Check for what transformers can do and llama.cpp's `llama` cannot.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    if config.hidden_act not in ACTIVATIONS:
        raise RunnerError("unsupported", f"llama: hidden_act `{config.hidden_act}`: llama.cpp has only silu")
    if config.num_hidden_layers > MOST_LAYERS:
        raise RunnerError(
            "unsupported", f"llama: num_hidden_layers {config.num_hidden_layers}: llama.cpp has at most {MOST_LAYERS}"
        )
    if not config.rms_norm_eps >= 0:
        raise RunnerError("unsupported", f"llama: rms_norm_eps {config.rms_norm_eps}: llama.cpp takes none below 0")


class LlamaCppModel:
    """A model in llama.cpp's memory."""

    def __init__(self, config: LlamaConfig, native: NativeModel, threads: int) -> None:
        self.config = config
        self.native = native
        self.threads = threads

    @property
    def parameters(self) -> Parameters:
        """Its size, a tied output projection once."""
        count = sum(parameter.elements for parameter in self.config.parameters())
        return Parameters(count=count, bytes=4 * count)

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """A context with room for these shapes; nothing is executed.

        Raises:
            RunnerError: `unsupported`, `invalid_inputs` or `out_of_memory`.
        """
        from arena_py.frameworks import llamacpp_programs as programs  # noqa: PLC0415 (numpy, loaded by now)

        match task:
            case "infer":
                return programs.Infer(self, inputs)
            case "decode":
                return programs.Decode(self, inputs, options.new_tokens or 1)
            case _:
                raise RunnerError(
                    "unsupported", f"task `{task}`: llama.cpp's interface gives the gradient of no parameter"
                )
