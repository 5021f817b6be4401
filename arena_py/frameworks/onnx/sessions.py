"""Sessions of ONNX Runtime: providers, threads, strictness, and the optimised form of a graph that is kept."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.host import cpu_name
from arena_py.frameworks.onnx import graphs

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # A convolution algorithm that is chosen by search would differ from process to process.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
    "tensorrt": ("TensorrtExecutionProvider", {}),
    "directml": ("DmlExecutionProvider", {}),
    "coreml": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
}
"""Each backend's execution provider, and its options for strict float32."""
DEVICES = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda", "directml": "dml", "coreml": "cpu"}
"""Where each backend's tensors are."""
SHORT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory", "BFCArena")


@dataclass(frozen=True)
class Target:
    """What a session runs on."""

    backend: str
    threads: int

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of it."""
        return PROVIDERS[self.backend][0]

    @property
    def device(self) -> str:
        """Where tensors are, in ONNX Runtime's words."""
        return DEVICES[self.backend]

    def require(self) -> None:
        """Check that this build of ONNX Runtime has the provider, and the machine a device where tensors are put.

        Raises:
            RunnerError: `device_unavailable`.
        """
        if self.provider not in onnxruntime.get_available_providers():
            raise RunnerError("device_unavailable", f"this build of onnxruntime has no {self.provider}")
        if self.device == "cpu":
            return
        if self.device == "cuda":
            # From the packages beside it (`nvidia/*/lib`): the dynamic linker does not look there.
            onnxruntime.preload_dlls()
        try:
            onnxruntime.OrtValue.ortvalue_from_shape_and_type([1], np.float32, self.device, 0)
        except Exception as error:
            sys.stderr.write(f"{error}\n")
            raise RunnerError("device_unavailable", f"this machine has no device for {self.provider}") from error


def create(
    target: Target, kept: graphs.Kept, initializers: Mapping[str, onnxruntime.OrtValue]
) -> onnxruntime.InferenceSession:
    """A session of a graph.

    Without initializers the optimised graph does not depend on the weights, and is kept; with them it holds what was
    computed from the weights, and is made whenever it is needed.

    Raises:
        RunnerError: `device_unavailable` or `out_of_memory`.
    """
    with memory_errors():
        if initializers:
            options = _options(target)
            options.add_external_initializers(list(initializers), list(initializers.values()))
            return _opened(target, kept.model, options)
        recipe = f"{onnxruntime.__version__} {target.provider} {cpu_name()}"
        path, whole = graphs.optimised(kept, recipe)
        if whole:
            options = _options(target)
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            return _opened(target, path, options)
        with tempfile.TemporaryDirectory(dir=kept.folder, prefix=".optimising-") as scratch:
            made = Path(scratch) / path.name
            options = _options(target)
            options.optimized_model_filepath = str(made)
            session = _opened(target, kept.model, options)
            if made.exists():  # some providers compile what cannot be written
                graphs.keep_optimised(made, path)
            return session


def _options(target: Target) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads that spin between executions would take time from the runner that is measured next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _opened(target: Target, path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    provider, settings = PROVIDERS[target.backend]
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT has no option of its own for it
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[(provider, settings)])
    except Exception as error:
        if target.backend != "cpu" and provider in str(error):
            raise RunnerError("device_unavailable", str(error).splitlines()[0]) from error
        raise
    # ONNX Runtime goes on with the CPU, and a line in its log, when a provider does not start.
    if provider not in session.get_providers():
        raise RunnerError("device_unavailable", f"{provider} did not start; onnxruntime would use the CPU instead")
    return session


def value(target: Target, array: Any) -> onnxruntime.OrtValue:
    """An array where the target's tensors are; on the CPU it is the array's own memory."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array, target.device, 0)


def on_host(array: Any) -> onnxruntime.OrtValue:
    """An array in host memory, whatever the target."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Tell ONNX Runtime's ways of saying that memory is short from its other errors."""
    try:
        yield
    except MemoryError as error:
        raise RunnerError("out_of_memory", str(error) or "host memory") from error
    except RunnerError:
        raise
    except Exception as error:
        if any(words in str(error) for words in SHORT_OF_MEMORY):
            raise RunnerError("out_of_memory", str(error).splitlines()[0]) from error
        raise
