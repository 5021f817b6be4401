"""What a runner does for each request of the contract, whoever brings it: the server's pipe, or the driver itself."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from arena_py.contract.adapter import LoadSpec, RunnerError
from arena_py.contract.messages import (
    Bind,
    Empty,
    Load,
    Loaded,
    MemoryUse,
    Outputs,
    Prepare,
    Prepared,
    Run,
    Samples,
    TaskName,
    TaskOptions,
    Usage,
    Written,
)

if TYPE_CHECKING:
    import msgspec

    from arena_py.contract.adapter import Framework, Model, Program
    from arena_py.contract.inputs import InputFile


@runtime_checkable
class DeviceMemory(Protocol):
    """A framework that can tell the peak of the device memory that it took."""

    def device_bytes(self) -> int | None:
        """Bytes at the peak; None where the backend has no memory of its own."""


@runtime_checkable
class DeviceName(Protocol):
    """A framework that can tell which device has what it loaded."""

    def device_name(self) -> str | None:
        """As the device's driver calls it; None on the host's processor."""


@dataclass
class Ongoing:
    """What the latest `prepare` left behind."""

    program: Program
    inputs: InputFile
    task: TaskName
    executed: bool = False
    frozen: bool = False
    """Whether the collector of garbage passes over what was there before the first `run`."""


class Responder:
    """A framework with what is loaded and prepared in it.

    Args:
        framework: what executes.
    """

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self._model: Model | None = None
        self._prepared: Ongoing | None = None

    def answer(self, request: msgspec.Struct) -> msgspec.Struct:  # noqa: PLR0911 (one return a request)
        """Do what is asked; the `ok` of the answer.

        Raises:
            RunnerError: what the contract calls an error.
        """
        match request:
            case Load():
                return self._load(request)
            case Prepare():
                return self._prepare(request)
            case Run():
                return self._run(request)
            case Bind():
                return self._bind(request)
            case Outputs():
                return self._outputs(request)
            case Usage():
                device = self._framework.device_bytes() if isinstance(self._framework, DeviceMemory) else None
                return MemoryUse(peak_rss_bytes=peak_rss_bytes(), device_bytes=device)
            case _:
                return Empty()

    def _load(self, request: Load) -> Loaded:
        spec = LoadSpec(request.model, Path(request.weights), request.backend, request.precision, request.threads)
        gc.unfreeze()
        start = time.perf_counter_ns()
        model = self._framework.load(spec)
        load_ns = time.perf_counter_ns() - start
        # Only now is the old model let go: a load that fails leaves it usable.
        self._model, self._prepared = model, None
        size = model.parameters
        device = self._framework.device_name() if isinstance(self._framework, DeviceName) else None
        return Loaded(load_ns=load_ns, parameters=size.count, parameter_bytes=size.bytes, device=device)

    def _prepare(self, request: Prepare) -> Prepared:
        if self._model is None:
            raise RunnerError("invalid_request", "`prepare` before `load`: no model is loaded")
        _check_options(request.task, request.options)
        inputs = _inputs(request.inputs)
        gc.unfreeze()
        start = time.perf_counter_ns()
        program = self._model.prepare(request.task, request.options, inputs)
        prepare_ns = time.perf_counter_ns() - start
        self._prepared = None  # frees the previous program's outputs before this one makes its own
        prepared = Ongoing(program, inputs, request.task)
        start = time.perf_counter_ns()
        program.execute("device")
        first_ns = time.perf_counter_ns() - start
        prepared.executed = True
        self._prepared = prepared
        return Prepared(prepare_ns=prepare_ns, first_ns=first_ns)

    def _current(self, op: str) -> Ongoing:
        if self._prepared is None:
            raise RunnerError("invalid_request", f"`{op}` before `prepare`: no task is prepared")
        return self._prepared

    def _run(self, request: Run) -> Samples:
        prepared = self._current("run")
        execute, boundary, clock = prepared.program.execute, request.boundary, time.perf_counter_ns
        samples, first_tokens = [], []
        prepared.executed = False
        gc.collect()
        if not prepared.frozen:
            # Going over all that a framework imported takes as long as many samples, and it is the same before each.
            gc.freeze()
            prepared.frozen = True
        gc.disable()  # a collection inside a sample would be timed
        try:
            for _ in range(request.iterations):
                start = clock()
                first_token = execute(boundary)
                samples.append(clock() - start)
                if first_token is not None:
                    first_tokens.append(first_token)
        finally:
            gc.enable()
        prepared.executed = True
        return Samples(samples_ns=samples, first_token_ns=first_tokens if prepared.task == "decode" else None)

    def _bind(self, request: Bind) -> Empty:
        prepared = self._current("bind")
        inputs = _inputs(request.inputs)
        inputs.require_like(prepared.inputs)
        prepared.program.bind(inputs)
        return Empty()

    def _outputs(self, request: Outputs) -> Written:
        prepared = self._current("outputs")
        if not prepared.executed:
            raise RunnerError("invalid_request", "`outputs` after an execution that failed: there are none")
        outputs = {output.name: output.read for output in prepared.program.outputs()}
        names = list(outputs) if request.names is None else list(dict.fromkeys(request.names))
        if unknown := [name for name in names if name not in outputs]:
            raise RunnerError("invalid_request", f"`{prepared.task}` has no output `{unknown[0]}`")
        from arena_py.contract.writer import write_tensors  # noqa: PLC0415 (numpy: not before the ready line)

        try:
            return Written(tensors=write_tensors(Path(request.path), [(name, outputs[name]) for name in names]))
        except OSError as error:
            raise RunnerError("invalid_request", f"outputs cannot be written: {error}") from error


def _inputs(path: str) -> InputFile:
    from arena_py.contract.inputs import InputFile  # noqa: PLC0415 (numpy: not before the ready line)

    return InputFile(Path(path))


def _check_options(task: TaskName, options: TaskOptions) -> None:
    if task == "decode" and options.new_tokens is None:
        raise RunnerError("invalid_request", "`decode` needs `options.new_tokens`")
    if task == "step" and options.optimizer is None:
        raise RunnerError("invalid_request", "`step` needs `options.optimizer`")


def peak_rss_bytes() -> int:
    """The process's own high-water mark of resident memory.

    On Linux `VmHWM`, which starts at exec: `ru_maxrss` would start from the parent's size at fork.

    Raises:
        RunnerError: `unsupported` on a system where it is not known how to ask.
    """
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    elif sys.platform == "darwin":
        import resource  # noqa: PLC0415 (not on every platform)

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raise RunnerError("unsupported", f"the peak memory of a process is not known on {sys.platform}")
