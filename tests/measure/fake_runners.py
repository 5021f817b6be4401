"""Runners that exist only in the test: what they take is written down beforehand, and every request is recorded."""

import contextlib
from dataclasses import dataclass, field
from itertools import chain, repeat

from arena_py.contract.messages import (
    Backend,
    Build,
    Description,
    FrameworkVersion,
    Loaded,
    MemoryUse,
    Prepared,
    Samples,
)
from arena_py.contract.session import RunnerFailed
from arena_py.measure.progress import Silent
from arena_py.results.document import TensorError, Verification

MS = 1_000_000
SECOND = 1_000_000_000
DESCRIPTION = Description(
    contract=1,
    runner="fake",
    framework=FrameworkVersion("fake", "1.0"),
    backends=[Backend("cpu", "nothing", ["f32"])],
    architectures={"llama": ["infer"]},
    own_kernels=[],
    build=Build("none", "release", []),
)
RIGHT = Verification(passed=True, worst=TensorError(name="logits", error=1e-7, limit=1e-6), tensors=[], problems=[])
WRONG = Verification(
    passed=False,
    worst=TensorError(name="logits", error=1e-2, limit=1e-6),
    tensors=[TensorError(name="logits", error=1e-2, limit=1e-6)],
    problems=[],
)


@dataclass
class FakeRunner:
    """A contender whose executions take what `execution_ns` says, the last one for ever."""

    label: str
    journal: list
    execution_ns: list = field(default_factory=lambda: [10 * MS])
    startup_ns: int = 5 * MS
    load_ns: int = 5 * MS
    prepare_ns: int = 5 * MS
    first_ns: int = 20 * MS
    peak_rss_bytes: int = 100
    verification: Verification = RIGHT
    changes_itself: bool = False
    unfinished_ns: int = 0
    asked_of: float | None = None
    """The median that it was asked about unfinished work with."""
    fails: dict = field(default_factory=dict)
    """`(operation, launch)` to the error that it answers with."""
    launches: int = 0
    open: int = 0

    @contextlib.contextmanager
    def launch(self):
        self._op("launch")
        self.launches += 1
        self.open += 1
        try:
            yield FakeProcess(self, chain(self.execution_ns[:-1], repeat(self.execution_ns[-1])))
        finally:
            self.open -= 1
            self.journal.append((self.label, "closed"))

    def _op(self, name):
        self.journal.append((self.label, name))
        if error := self.fails.get((name, self.launches)):
            raise error


@dataclass
class FakeProcess:
    runner: FakeRunner
    clock: object
    description: Description = DESCRIPTION

    @property
    def startup_ns(self):
        return self.runner.startup_ns

    def load(self):
        self.runner._op("load")
        return Loaded(load_ns=self.runner.load_ns, parameters=1, parameter_bytes=4)

    def prepare(self):
        self.runner._op("prepare")
        return Prepared(prepare_ns=self.runner.prepare_ns, first_ns=self.runner.first_ns)

    def run(self, iterations):
        self.runner._op(f"run {iterations}")
        if error := self.runner.fails.get(("run", self.runner.launches)):
            raise error
        return Samples(samples_ns=[next(self.clock) for _ in range(iterations)])

    def usage(self):
        self.runner._op("usage")
        return MemoryUse(peak_rss_bytes=self.runner.peak_rss_bytes)

    def rebind(self):
        self.runner._op("rebind")
        return []

    def verify(self, curve):
        self.runner._op("verify")
        return self.runner.verification

    def unfinished_ns(self, execution_ns):
        self.runner.asked_of = execution_ns
        return self.runner.unfinished_ns

    def log_tail(self):
        return ["its last words"]


@dataclass
class Recorder(Silent):
    """A progress that remembers."""

    phases: list = field(default_factory=list)
    launches: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    def sampled(self, cell, ns):
        self.samples += [(cell, each) for each in ns]

    def failed(self, cell, reason):
        self.failures.append((cell, reason))

    def phase(self, subject, what):
        self.phases.append((subject, what))

    def launched(self, cell, launch, launches):
        self.launches.append((cell, launch, launches))


def crash(words="run: died of SIGSEGV"):
    return RunnerFailed("crashed", words)
