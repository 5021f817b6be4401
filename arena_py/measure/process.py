"""A variant on a case as a real process: the session of its runner, given the case's files and the gate."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from arena_py.build import Built, launch
from arena_py.contract.conditions import SETTLED_S
from arena_py.contract.limits import Limits
from arena_py.contract.messages import Description, Loaded, MemoryUse, Prepared, Samples
from arena_py.contract.session import Session
from arena_py.manifest import GateLimits
from arena_py.measure import gpu, unfinished
from arena_py.measure.kept import Kept
from arena_py.measure.plan import Candidate, Plan
from arena_py.results.document import Verification
from arena_py.verify import gate
from arena_py.verify.cases import CaseFiles
from arena_py.verify.exercise import Exercise

LOG_LINES = 20


@dataclass(frozen=True)
class Running:
    """One launch."""

    session: Session
    exercise: Exercise
    files: CaseFiles
    limits: GateLimits
    folder: Path
    new: bool = True

    @property
    def startup_ns(self) -> int | None:
        """From spawn to ready; none in the driver's own process, or in one that was started for an earlier case."""
        return self.session.startup_ns if self.new else None

    @property
    def description(self) -> Description:
        """What the runner says it is."""
        return msgspec.convert(msgspec.to_builtins(self.session.description), Description)

    def load(self) -> Loaded:
        """Load the case's weights; the device that has them is the runner's own word, else its driver's."""
        loaded = self.exercise.load(self.session)
        if loaded.device is None and self.exercise.backend != "cpu" and isinstance(self.session, Session):
            return replace(loaded, device=gpu.device_of(self.session.pid))
        return loaded

    def prepare(self) -> Prepared:
        """Compile for the case's inputs and execute once; its pools of threads are asleep afterwards."""
        prepared = self.exercise.prepare(self.session)
        time.sleep(SETTLED_S)
        return prepared

    def run(self, iterations: int) -> Samples:
        """Execute, timed, within the variant's boundary; its pools of threads are asleep afterwards."""
        samples = self.session.run(iterations, self.exercise.boundary)
        time.sleep(SETTLED_S)
        return samples

    def usage(self) -> MemoryUse | None:
        """Peak memory until now; none in the driver's own process.

        Of a device it is what the framework says that it took; where it says nothing, what the device's driver says
        that the process has now, which counts the driver's own context.
        """
        used = self.session.usage()
        if used is None or used.device_bytes is not None or not isinstance(self.session, Session):
            return used
        return replace(used, device_bytes=gpu.memory_of(self.session.pid))

    def rebind(self) -> list[float]:
        """Give it the other inputs, of which the reference's outputs are known: all that it executes now is on them.

        Returns:
            Of a `step` the loss of each; it has executed all of them then, since each changes the weights. Else empty.
        """
        if self.files.case.task == "step":
            return self.exercise.follow(self.session, self._outputs)
        for inputs in self.exercise.later_inputs:
            self.session.bind(inputs)
        return []

    def verify(self, curve: list[float]) -> Verification:
        """Compare every output tensor of its latest execution, and the losses, with the reference."""
        self.session.outputs(self._outputs)
        return gate.check(
            self._outputs,
            self.files.expected,
            self.files.noise_in(self.exercise.precision),
            self.limits,
            curve=curve,
            reference_curve=self.files.recorded.curve,
        )

    def unfinished_ns(self, execution_ns: float) -> int:
        """How much longer its results take to be there than its samples say (`measure/unfinished.py`)."""
        return unfinished.unfinished_ns(self.session, self.exercise.boundary, execution_ns, self._outputs)

    @property
    def _outputs(self) -> Path:
        return self.folder / "outputs.safetensors"

    def log_tail(self) -> list[str]:
        """The last lines of the runner's log."""
        return self.session.log_tail(LOG_LINES)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A built variant, ready to be launched on a case."""

    candidate: Candidate
    built: Built
    files: CaseFiles
    limits: GateLimits
    threads: int
    timeouts_s: Mapping[str, float]
    allowed: Limits | None = None
    scratch: Path
    """Where each launch gets a folder of its own, with room for a file of all outputs."""
    kept: Kept | None = None
    """Processes that go on from case to case; none where each launch is a process of its own."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        candidate: Candidate,
        built: Built,
        files: CaseFiles,
        scratch: Path,
        *,
        kept: Kept | None = None,
    ) -> Runner:
        """A variant with the gate, the threads, the times and the limits of a plan."""
        return cls(
            candidate=candidate,
            built=built,
            files=files,
            limits=plan.suite.gate[candidate.variant.precision],
            threads=plan.threads,
            timeouts_s=plan.suite.timeout_s,
            allowed=plan.suite.limits,
            scratch=scratch,
            # What a device has taken is the process's, whichever case took it; and a launch is a new process.
            kept=kept if candidate.variant.backend == "cpu" and plan.keeps_processes else None,
        )

    @property
    def label(self) -> str:
        """`FRAMEWORK:VARIANT`."""
        return self.candidate.label

    @property
    def problem(self) -> str | None:
        """Why nothing of it can be verified in its precision; none when it can."""
        return self.files.problem_in(self.candidate.variant.precision, self.limits)

    @property
    def changes_itself(self) -> bool:
        """`step` changes the weights with every execution."""
        return self.files.case.task == "step"

    @contextlib.contextmanager
    def launch(self) -> Iterator[Running]:
        """Spawn the runner, import it here, or go on with an idle one; leaving kills it whole unless it is kept."""
        variant = self.candidate.variant
        exercise = self.files.exercise(variant.backend, variant.precision).on(
            variant.backend, variant.precision, variant.boundary
        )
        if self.kept is None or self.built.in_process:
            with self._folder(self.scratch) as folder, self._session(folder) as session:
                yield Running(session, exercise, self.files, self.limits, folder)
            return
        with self.kept.session(self.label, self._session) as (session, new), self._folder(session.scratch) as folder:
            yield Running(session, exercise, self.files, self.limits, folder, new)

    def _session(self, folder: Path) -> Session:
        return launch.session(
            self.built.command,
            self.built.in_process,
            scratch=folder,
            environment=self.built.environment(self.candidate.variant),
            threads=self.threads,
            timeouts_s=self.timeouts_s,
            allowed=self.allowed,
        )

    @staticmethod
    @contextlib.contextmanager
    def _folder(parent: Path) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
