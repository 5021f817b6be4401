"""The driver's side of the contract: one runner process, spawned, asked, timed out and killed whole.

The runner is somebody else's program. Whatever it does ends in a `RunnerFailed` with a status and its own last words;
its whole process group dies with the session.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from arena_py.contract import containment, limits, warden
from arena_py.contract import messages as m
from arena_py.contract.conditions import DEFAULT_TIMEOUTS_S, runner_environment
from arena_py.contract.pipes import Lines, Log, TooLong

LOOK_S = 0.5
"""While an answer is waited for, how often whether the runner still lives."""
FailureStatus: TypeAlias = Literal["unsupported", "unavailable", "out_of_memory", "crashed", "timed_out"]
STATUS_OF_CODE: Mapping[str, FailureStatus] = {
    "unsupported": "unsupported",
    "device_unavailable": "unavailable",
    "out_of_memory": "out_of_memory",
}

A = TypeVar("A", bound=msgspec.Struct)


class RunnerFailed(Exception):
    """A runner did not do what it was asked.

    Args:
        status: the status that its cell gets.
        reason: what happened, with the runner's own words.
    """

    def __init__(self, status: FailureStatus, reason: str) -> None:
        super().__init__(reason)
        self.status: FailureStatus = status
        self.reason = reason


class RunnerRefused(RunnerFailed):
    """A runner answered with an error of the contract; it stays usable unless the code is `internal`."""

    def __init__(self, op: str, problem: m.Problem) -> None:
        super().__init__(STATUS_OF_CODE.get(problem.code, "crashed"), f"{op}: {problem.code}: {problem.message}")
        self.op = op
        self.code = problem.code
        self.message = problem.message


class ProtocolViolation(RunnerFailed):
    """A runner broke a rule of the contract; nothing that it says afterwards is believed."""

    def __init__(self, what: str) -> None:
        super().__init__("crashed", f"protocol: {what}")


class Session:
    """A running runner. Use it as a context manager: leaving it kills the runner and all that it started.

    Args:
        command: the runner's argv without `serve`.
        scratch: its working directory.
        environment: the variant's own variables; `{threads}` is replaced.
        threads: what the thread variables are set to, and what `load` asks for.
        timeouts_s: seconds for each operation and for `ready`, over `DEFAULT_TIMEOUTS_S`.
        allowed: what it may take of the machine.

    Raises:
        RunnerFailed: it cannot be started, or its first line is not a ready line of this contract.
    """

    description: m.Description
    """What the runner says it is."""

    def __init__(
        self,
        command: list[str],
        *,
        scratch: Path,
        environment: Mapping[str, str] | None = None,
        threads: int = 1,
        timeouts_s: Mapping[str, float] | None = None,
        allowed: limits.Limits | None = None,
    ) -> None:
        allowed = allowed or limits.Limits()
        self.threads = threads
        self.scratch = scratch
        """Its working directory."""
        self._exceeded: RunnerFailed | None = None
        self._timeouts_s = {**DEFAULT_TIMEOUTS_S, **(timeouts_s or {})}
        self._next_id = 1
        self._broken: RunnerFailed | None = None
        variables = runner_environment(threads, environment or {}) | {containment.MARK: str(scratch)}
        containment.adopt()
        warden.watch(scratch)
        self._started_s = time.time()
        started_ns = time.perf_counter_ns()
        try:
            self._process = containment.start(
                [*command, "serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=scratch,
                env=variables,
                bufsize=0,
            )
        except OSError as error:
            warden.forget(scratch)
            raise RunnerFailed("crashed", f"cannot be started: {command[0]}: {error.strerror}") from error
        warden.watch(self._process.pid)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._answers = Lines(self._process.stdout.fileno())
        self._log = Log(self._process.stderr.fileno(), allowed.log_lines)
        self._watch: limits.LimitWatch | None = None
        try:
            limits.impose(allowed, self._process.pid, scratch)
            self._watch = limits.LimitWatch(allowed, self._process.pid, scratch, self._took_too_much)
            ready_ns, line = self._line("ready", self._timeouts_s["ready"])
            self.description = self._ready(line)
        except BaseException:
            self.close()
            raise
        self.startup_ns: int | None = ready_ns - started_ns
        """From spawn to the ready line."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The runner's process id."""
        return self._process.pid

    @property
    def sound(self) -> bool:
        """Whether it lives, and has kept to the contract until now."""
        return self._broken is None and self._exceeded is None and self._process.poll() is None

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of its standard error."""
        return self._log.tail(lines)

    def load(self, model: m.ModelSpec, weights: Path, *, backend: str, precision: m.Precision = "f32") -> m.Loaded:
        """Build the model from the weights file."""
        request = m.Load(
            id=self._id(), model=model, weights=str(weights), backend=backend, precision=precision, threads=self.threads
        )
        asked_ns = time.perf_counter_ns()
        loaded = self._ask(request, m.Loaded)
        self._took("load", loaded.load_ns, asked_ns)
        return loaded

    def prepare(self, task: m.TaskName, inputs: Path, options: m.TaskOptions | None = None) -> m.Prepared:
        """Compile the task for these inputs and execute once."""
        request = m.Prepare(id=self._id(), task=task, inputs=str(inputs), options=options or m.TaskOptions())
        asked_ns = time.perf_counter_ns()
        prepared = self._ask(request, m.Prepared)
        self._took("prepare", prepared.prepare_ns + prepared.first_ns, asked_ns)
        return prepared

    def run(self, iterations: int, boundary: m.BoundaryName = "host") -> m.Samples:
        """Execute again, one sample each; a sample longer than the request took, or too few, is a violation."""
        asked_ns = time.perf_counter_ns()
        samples = self._ask(m.Run(id=self._id(), iterations=iterations, boundary=boundary), m.Samples)
        took_ns = time.perf_counter_ns() - asked_ns
        if len(samples.samples_ns) != iterations:
            raise self._violation(f"run: {len(samples.samples_ns)} samples, {iterations} asked")
        if min(samples.samples_ns) == 0 or sum(samples.samples_ns) > took_ns:
            raise self._violation(f"run: samples of {sum(samples.samples_ns)} ns in a request of {took_ns} ns")
        first = samples.first_token_ns
        if first is not None and (
            len(first) != iterations or any(f > s for f, s in zip(first, samples.samples_ns, strict=True))
        ):
            raise self._violation("run: first_token_ns does not fit samples_ns")
        return samples

    def bind(self, inputs: Path) -> None:
        """Other input values of the same names, types and shapes."""
        self._ask(m.Bind(id=self._id(), inputs=str(inputs)), m.Empty)

    def outputs(self, path: Path, names: list[str] | None = None) -> m.Written:
        """Write the outputs of the latest execution to `path`."""
        return self._ask(m.Outputs(id=self._id(), path=str(path), names=names), m.Written)

    def usage(self) -> m.MemoryUse | None:
        """The runner's own peak memory until now; none where it has no process of its own."""
        return self._ask(m.Usage(id=self._id()), m.MemoryUse)

    def shutdown(self) -> int:
        """Ask it to end and wait; the exit code.

        Raises:
            RunnerFailed: it does not end in time.
        """
        self._ask(m.Shutdown(id=self._id()), m.Empty)
        return self.wait(self._timeouts_s["shutdown"])

    def end_input(self) -> int:
        """Close its standard input, which is a request to stop, and wait; the exit code."""
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        return self.wait(self._timeouts_s["shutdown"])

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RunnerFailed("timed_out", f"did not end within {timeout_s:g} s") from error

    def exchange(self, line: bytes, *, op: str = "request", timeout_s: float | None = None) -> m.Answer:
        """Send one raw line and take one answer, whatever id it has; for `conform`."""
        self._send(line, op)
        _, answer = self._line(op, timeout_s or self._timeouts_s.get(op, 60.0))
        return self._answer(answer, op)

    def close(self) -> None:
        """Kill the runner and everything that it started; never raises."""
        if self._watch:
            self._watch.stop()
        # Before its end is collected: until then its number is nobody else's.
        containment.end(self._process.pid, self.scratch, self._started_s)
        self._process.wait()
        containment.ended(self._process.pid)
        for watched in (self._process.pid, self.scratch):
            warden.forget(watched)
        for reader in (self._log, self._answers):
            reader.stop()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                assert pipe
                pipe.close()

    def _took(self, op: str, said_ns: int, asked_ns: int) -> None:
        """A phase cannot be longer than the request that it was part of."""
        took_ns = time.perf_counter_ns() - asked_ns
        if said_ns > took_ns:
            raise self._violation(f"{op}: {said_ns} ns in a request of {took_ns} ns")

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _ask(self, request: Any, answer_type: type[A]) -> A:
        op = type(request).__struct_config__.tag
        self._send(msgspec.json.encode(request), op)
        _, line = self._line(op, self._timeouts_s[op])
        answer = self._answer(line, op)
        if answer.id != request.id:
            raise self._violation(f"{op}: answer with id {answer.id}, expected {request.id}")
        if answer.error is not None:
            refusal = RunnerRefused(op, answer.error)
            if answer.error.code == "internal":
                self._broken = refusal
            raise refusal
        try:
            return msgspec.convert(answer.ok, answer_type, strict=True)
        except msgspec.MsgspecError as error:
            raise self._violation(f"{op}: answer is not as in the contract: {error}") from error

    def _send(self, line: bytes, op: str) -> None:
        if self._broken:
            raise self._broken
        if not self._answers.lines.empty():
            _, extra = self._answers.lines.queue[0]
            if isinstance(extra, bytes):
                raise self._violation(f"a line that nobody asked for: {_quote(extra)}")
        # In a thread of its own: a runner that does not read would block the driver once the pipe is full.
        failed: list[Exception] = []
        writer = threading.Thread(target=self._write, args=(line + b"\n", failed), daemon=True)
        writer.start()
        writer.join(self._timeouts_s.get(op, 60.0))
        if failed:
            raise self._ended(op)

    def _write(self, data: bytes, failed: list[Exception]) -> None:
        assert self._process.stdin
        left = memoryview(data)
        try:
            while left:
                left = left[self._process.stdin.write(left) or 0 :]
        except (OSError, ValueError) as error:
            failed.append(error)

    def _line(self, op: str, timeout_s: float) -> tuple[int, bytes]:
        with self._watch.closely() if self._watch else contextlib.nullcontext():
            at_ns, line = self._next(op, timeout_s)
        if line is None:
            self._answers.lines.put((at_ns, None))
            raise self._ended(op)
        if isinstance(line, TooLong):
            raise self._violation(f"a line longer than {m.MAX_LINE_BYTES} bytes")
        return at_ns, line

    def _next(self, op: str, timeout_s: float) -> tuple[int, bytes | TooLong | None]:
        until = time.monotonic() + timeout_s
        while True:
            try:
                return self._answers.lines.get(timeout=max(0.0, min(LOOK_S, until - time.monotonic())))
            except queue.Empty:
                # Something that it started may keep its standard output open.
                if self._process.poll() is not None and self._answers.lines.empty():
                    raise self._ended(op) from None
                if time.monotonic() >= until:
                    self._broken = RunnerFailed("timed_out", f"{op}: no answer within {timeout_s:g} s")
                    raise self._broken from None

    def _ready(self, line: bytes) -> m.Ready:
        try:
            ready = msgspec.json.decode(line, type=m.Ready)
        except m.UNREADABLE as error:
            raise self._violation(f"first line is not a ready line ({error}): {_quote(line)}") from error
        if ready.contract != m.CONTRACT:
            raise RunnerFailed(
                "unsupported", f"speaks contract {ready.contract}, this arena speaks {m.CONTRACT}; rebuild the runner"
            )
        return ready

    def _answer(self, line: bytes, op: str) -> m.Answer:
        try:
            answer = msgspec.json.decode(line, type=m.Answer)
        except m.UNREADABLE as error:
            raise self._violation(f"{op}: not an answer ({error}): {_quote(line)}") from error
        if (answer.ok is None) == (answer.error is None):
            raise self._violation(f"{op}: an answer needs exactly one of ok and error: {_quote(line)}")
        return answer

    def _violation(self, what: str) -> ProtocolViolation:
        violation = ProtocolViolation(what)
        self._broken = violation
        return violation

    def _took_too_much(self, what: str) -> None:
        """The watch saw too much: all of it ends, and whoever waits for an answer is told why."""
        self._exceeded = RunnerFailed("crashed", f"took {what}")
        containment.end(self._process.pid, self.scratch, self._started_s)

    def _ended(self, op: str) -> RunnerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._log.join(0.5)
        code = self._process.returncode
        if self._exceeded:
            self._broken = RunnerFailed("crashed", f"{op}: {self._exceeded.reason}")
            return self._broken
        if code is None:
            how = "closed its standard output"
        elif code < 0:
            how = f"died of {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"died of signal {-code}"
        else:
            how = f"ended with exit code {code}"
        words = " | ".join(line for line in self.log_tail(3) if line)
        self._broken = RunnerFailed("crashed", f"{op}: {how}{': ' + words if words else ''}")
        return self._broken


def _quote(line: bytes) -> str:
    text = line[:120].decode("utf-8", "backslashreplace")
    return repr(text) + ("…" if len(line) > 120 else "")
