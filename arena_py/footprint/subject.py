"""A built variant on one case, ready to be started again and again: what is watched, timed and bundled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from arena_py.contract.session import Session
from arena_py.footprint.trace import Trace, Watch
from arena_py.measure.process import Runner
from arena_py.results.document import Verification
from arena_py.verify import gate
from arena_py.verify.exercise import Exercise


@dataclass(frozen=True)
class Subject:
    """What is started, on what."""

    runner: Runner

    @property
    def python(self) -> bool:
        """Whether the runner is a Python."""
        return self.runner.candidate.framework.language == "python"

    @property
    def exercise(self) -> Exercise:
        """The task on the inputs whose reference is kept."""
        variant = self.runner.candidate.variant
        chosen = self.runner.files.exercise(variant.backend, variant.precision).on(
            variant.backend, variant.precision, variant.boundary
        )
        return msgspec.structs.replace(chosen, inputs=chosen.later_inputs[-1], later_inputs=[])

    @property
    def own_files(self) -> set[Path]:
        """The model's: they are weighed apart."""
        return {
            self.runner.files.weights,
            *self.runner.files.later_inputs,
            self.runner.files.inputs,
            self.runner.files.expected,
        }

    def session(
        self, folder: Path, *, command: list[str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Session:
        """A fresh process.

        Args:
            folder: its working directory.
            command: in place of its own.
            environment: beside its own variables.

        Raises:
            RunnerFailed: it cannot be started.
        """
        return Session(
            command or self.runner.built.command,
            scratch=folder,
            environment={**self.runner.built.environment(self.runner.candidate.variant), **(environment or {})},
            threads=self.runner.threads,
            timeouts_s=self.runner.timeouts_s,
            allowed=self.runner.allowed,
        )

    def verify(self, outputs: Path) -> Verification:
        """The gate's decision on what it wrote."""
        noise = self.runner.files.noise_in(self.runner.candidate.variant.precision)
        return gate.check(outputs, self.runner.files.expected, noise, self.runner.limits)

    def watched(self) -> tuple[Trace, Verification]:
        """One whole execution with everything that it opens.

        Raises:
            RunnerFailed: it refused, crashed or took too long.
        """
        with tempfile.TemporaryDirectory(dir=self.runner.scratch, ignore_cleanup_errors=True) as name:
            folder, log = Path(name) / "run", Path(name) / "log"
            folder.mkdir()
            log.mkdir()
            watch, outputs = Watch(log, python=self.python), folder / "outputs.safetensors"
            command = watch.command(self.runner.built.command)
            with self.session(folder, command=command, environment=watch.environment()) as session:
                self.exercise.load(session)
                self.exercise.prepare(session)
                session.outputs(outputs)
                watch.look(session.pid)
                verification = self.verify(outputs)
                session.shutdown()
            trace = watch.finish()
            inside = {path for path in trace.opened | trace.looked_at if path.is_relative_to(name)}
        trace.opened -= self.own_files | inside
        trace.looked_at -= self.own_files | inside
        return trace, verification

    def launch(self) -> Launch:
        """One start: spawn, ready, first outputs on disk, held against the reference.

        Raises:
            RunnerFailed: it refused, crashed or took too long.
        """
        with tempfile.TemporaryDirectory(dir=self.runner.scratch, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            outputs = folder / "outputs.safetensors"
            spawned_ns = time.perf_counter_ns()
            with self.session(folder) as session:
                process = psutil.Process(session.pid)
                cpu_ready_s = _cpu_s(process)
                self.exercise.load(session)
                self.exercise.prepare(session)
                session.outputs(outputs)
                first_ns = time.perf_counter_ns() - spawned_ns
                cpu_first_s = _cpu_s(process)
                usage = session.usage()
                assert session.startup_ns is not None
                return Launch(
                    ready_ns=session.startup_ns,
                    first_ns=first_ns,
                    cpu_ready_s=cpu_ready_s,
                    cpu_first_s=cpu_first_s,
                    peak_bytes=usage.peak_rss_bytes if usage else None,
                    wrong=gate.reason(self.verify(outputs)),
                )


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start."""

    ready_ns: int
    first_ns: int
    cpu_ready_s: float
    cpu_first_s: float
    peak_bytes: int | None
    wrong: str | None
    """Why its outputs are not right; none when they are."""


def _cpu_s(process: psutil.Process) -> float:
    """Processor seconds of a process and of its children that ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
