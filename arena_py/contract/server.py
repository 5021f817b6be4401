"""The runner's side of the contract: one request a line in, one answer a line out, driving a `Framework`.

The Rust crate `arena-runner` is the same loop for the Rust runners.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

import msgspec

from arena_py.contract.adapter import LoadSpec, RunnerError
from arena_py.contract.messages import (
    ANSWERS,
    MAX_LINE_BYTES,
    Answer,
    Bind,
    Empty,
    ErrorCode,
    Load,
    Loaded,
    MemoryUse,
    Outputs,
    Prepare,
    Prepared,
    Problem,
    Ready,
    Run,
    Samples,
    Shutdown,
    TaskName,
    TaskOptions,
    Usage,
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from arena_py.contract.adapter import Framework, Model, Program
    from arena_py.contract.inputs import InputFile

REQUESTS = {str(request.__struct_config__.tag): request for request in ANSWERS}
INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended, as shells report it."""


@runtime_checkable
class DeviceMemory(Protocol):
    """A framework that can tell the peak of the device memory that it took."""

    def device_bytes(self) -> int | None:
        """Bytes at the peak; None where the backend has no memory of its own."""


def serve(make: Callable[[], Framework]) -> int:
    """Serve on this process's standard input and output and return the exit code.

    Whatever is printed from here on, by Python or by native code, goes to standard error: file descriptor 1 is
    pointed there, and answers use a private copy of what it was.
    """
    writer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    reader = os.fdopen(os.dup(0), "rb")
    try:
        Server(make(), reader, writer).run()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # the driver is gone: nothing is left to answer
    return 0


@dataclass
class Ongoing:
    """What the latest `prepare` left behind."""

    program: Program
    inputs: InputFile
    task: TaskName
    executed: bool = False


class Server:
    """The request loop over any pair of byte streams.

    Args:
        framework: what executes.
        reader: requests, one a line.
        writer: answers, one a line.
    """

    def __init__(self, framework: Framework, reader: BinaryIO, writer: BinaryIO) -> None:
        self._framework = framework
        self._reader = reader
        self._writer = writer
        self._model: Model | None = None
        self._prepared: Ongoing | None = None

    def run(self) -> None:
        """Say that the runner is ready, then answer until `shutdown` or the end of input."""
        self._send(Ready(event="ready", **msgspec.structs.asdict(self._framework.describe())))
        while (line := self._line()) is not None:
            number: int | None = None
            try:
                message = _parse(line)
                number = _number(message)
                request = _request(message)
                ok = self._answer(request)
            except RunnerError as error:
                self._send(Answer(id=number, error=Problem(error.code, error.message)))
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                code: ErrorCode = "out_of_memory" if isinstance(error, MemoryError) else "internal"
                self._send(Answer(id=number, error=Problem(code, str(error) or type(error).__name__)))
            else:
                self._send(Answer(id=number, ok=msgspec.to_builtins(ok)))
                if isinstance(request, Shutdown):
                    return

    def _send(self, message: msgspec.Struct) -> None:
        self._writer.write(msgspec.json.encode(message) + b"\n")
        self._writer.flush()

    def _line(self) -> bytes | None:
        """The next line without its end; None at the end of input; longer than allowed when it is too long."""
        line = self._reader.readline(MAX_LINE_BYTES + 2)
        if not line:
            return None
        end = line
        while not end.endswith(b"\n"):  # the rest of a line that is too long, or of an unfinished last one
            end = self._reader.readline(MAX_LINE_BYTES)
            if not end:
                break
        return line.removesuffix(b"\n")

    def _answer(self, request: msgspec.Struct) -> msgspec.Struct:  # noqa: PLR0911 (one return a request)
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
        start = time.perf_counter_ns()
        model = self._framework.load(spec)
        load_ns = time.perf_counter_ns() - start
        # Only now is the old model let go: a load that fails leaves it usable.
        self._model, self._prepared = model, None
        return Loaded(load_ns=load_ns, parameters=model.parameters.count, parameter_bytes=model.parameters.bytes)

    def _prepare(self, request: Prepare) -> Prepared:
        if self._model is None:
            raise RunnerError("invalid_request", "`prepare` before `load`: no model is loaded")
        _check_options(request.task, request.options)
        inputs = _inputs(request.inputs)
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


def _parse(line: bytes) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES:
        raise RunnerError("invalid_request", f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RunnerError("invalid_request", f"the line is not a JSON object: {error}") from error


def _number(message: dict[str, object]) -> int | None:
    number = message.get("id")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _request(message: dict[str, object]) -> msgspec.Struct:
    op = message.get("op")
    if not isinstance(op, str):
        raise RunnerError("invalid_request", "the request has no `op`")
    kind = REQUESTS.get(op)
    if kind is None:
        raise RunnerError("unknown_op", f"no op `{op}` in this version of the contract")
    try:
        return msgspec.convert(message, kind)
    except msgspec.ValidationError as error:
        raise RunnerError("invalid_request", f"`{op}`: {error}") from error


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
