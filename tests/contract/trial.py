"""One hostile runner beside a good one on a case, through the real driver: what became of both, and what is left."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from arena_py import places
from arena_py.build import BuildRecord, Built
from arena_py.contract.limits import Limits
from arena_py.contract.tensors import write_tensors
from arena_py.manifest import GateLimits, Sampling, Suite, model
from arena_py.manifest.framework import parse
from arena_py.measure.case import CaseMeasurement
from arena_py.measure.plan import Candidate, Plan
from arena_py.measure.progress import Silent
from arena_py.verify.cases import CaseFiles, Recorded

HERE = Path(__file__).parent
HOSTILE, FAKE = HERE / "hostile.py", HERE / "fake_runner.py"
TIMEOUT_S = 2.0
"""Of what hangs."""
PATIENCE_S = 60.0
"""Of everything else: its verdict is another one, however busy the machine is."""
LIMITS = Limits(memory_bytes=256 << 20, file_bytes=32 << 20, processes=16)
OPS = ("load", "prepare", "run", "bind", "outputs", "usage")


@dataclass(frozen=True)
class Behaviour:
    """What a runner does, and the verdict that it must get."""

    name: str
    status: str
    words: str
    """A part of the reason."""
    program: Path = HOSTILE
    limits: Limits = LIMITS
    hang_s: float = TIMEOUT_S
    """How long the driver waits for what it hangs in."""

    @property
    def timeout_s(self) -> dict[str, float]:
        """Of each request, and of the first line: short only where an answer never comes."""
        hangs_in = self.words.partition(":")[0] if self.status == "timed_out" else None
        return {op: self.hang_s if op == hangs_in else PATIENCE_S for op in ("ready", *OPS, "shutdown")}


def _fake(name: str, status: str, words: str, hang_s: float = TIMEOUT_S) -> Behaviour:
    return Behaviour(name, status, words, FAKE, hang_s=hang_s)


BEHAVIOURS = [
    # The good one's interpreter has to start in this time, too.
    _fake("silent", "timed_out", "ready: no answer within 10 s", hang_s=10.0),
    _fake("dies-at-once", "crashed", "ready: ended with exit code 1: no such luck"),
    _fake("no-ready", "crashed", "protocol: first line is not a ready line"),
    _fake("other-contract", "unsupported", "speaks contract 99"),
    *(_fake(f"crash@{op}", "crashed", f"{op}: died of SIGSEGV: the roof is on fire") for op in OPS),
    *(_fake(f"leave@{op}", "crashed", f"{op}: ended with exit code 0") for op in OPS),
    _fake("hang@run", "timed_out", "run: no answer within 2 s"),
    _fake("garbage@load", "crashed", "protocol: load: not an answer"),
    _fake("half-line@load", "crashed", "load: ended with exit code 0"),
    _fake("no-newline@load", "crashed", "protocol: a line longer than 1048576 bytes"),
    _fake("invalid-utf8@load", "crashed", "protocol: load"),
    _fake("nan@load", "crashed", "protocol: load"),
    _fake("wrong-id@load", "crashed", "protocol: load: answer with id"),
    _fake("twice@load", "crashed", "protocol"),
    _fake("both@load", "crashed", "exactly one of ok and error"),
    _fake("strange-code@load", "crashed", "protocol: load"),
    _fake("refuse@load", "unsupported", "no load today"),
    _fake("negative", "crashed", "protocol: run"),
    _fake("zero", "crashed", "protocol: run"),
    _fake("absurd", "crashed", "protocol: run: samples of"),
    _fake("few", "crashed", "samples"),
    _fake("text", "crashed", "protocol: run"),
    _fake("lazy", "wrong", "its samples end before its results are there"),
    _fake("children", "passed", ""),
    _fake("flood@usage", "passed", ""),
    Behaviour("half-then-silent@run", "timed_out", "run: no answer within 2 s"),
    Behaviour("closes-output@run", "crashed", "run: closed its standard output"),
    Behaviour("deaf@bind", "timed_out", "bind: no answer within 2 s"),
    Behaviour("stops-itself@run", "timed_out", "run: no answer within 2 s"),
    Behaviour("deep-json@load", "crashed", "protocol: load: not an answer"),
    Behaviour("line-flood@run", "crashed", "protocol: run: not an answer"),
    Behaviour("unasked@load", "crashed", "protocol"),
    Behaviour("late@prepare", "crashed", "protocol: prepare: answer with id"),
    Behaviour("infinity@load", "crashed", "protocol: load"),
    Behaviour("huge-number@load", "crashed", "protocol: load"),
    Behaviour("long-load@load", "crashed", "protocol: load: 1000000000000000000 ns in a request of"),
    Behaviour("log-flood@usage", "passed", ""),
    Behaviour("log-escape@run", "crashed", "run: ended with exit code 3"),
    Behaviour("daemon@run", "passed", ""),
    Behaviour("secret-daemon@run", "passed", ""),
    Behaviour("pipe-holder@run", "crashed", "run: died of SIGKILL"),
    Behaviour("many@run", "crashed", "processes, the limit is 16"),
    Behaviour("memory@run", "crashed", "GiB of memory, the limit is 0.25 GiB"),
    Behaviour("childs-memory@prepare", "crashed", "GiB of memory, the limit is 0.25 GiB"),
    Behaviour(
        "address-space@load",
        "crashed",
        "MemoryError",
        limits=Limits(address_space_bytes=8 << 30, file_bytes=32 << 20),
    ),
    Behaviour("disk@run", "crashed", "File too large"),
    Behaviour("many-files@run", "crashed", "GiB of files, the limit is 0.03 GiB"),
    Behaviour("locked-folder@run", "passed", ""),
    Behaviour("missing-file", "wrong", "cannot be opened"),
    Behaviour("empty-file", "wrong", "not a safetensors file"),
    Behaviour("truncated", "wrong", "its header describes"),
    Behaviour("wrong-shape", "wrong", "has shape [1, 1], expected [1]"),
    Behaviour("extra-tensor", "wrong", "'more' was not asked for"),
    Behaviour("huge-header", "wrong", "not a safetensors file"),
    Behaviour("long-header", "wrong", "not a safetensors file"),
    Behaviour("overlap", "wrong", "overlap"),
    Behaviour("deep-header", "wrong", "header is not valid"),
    Behaviour("deep-entry", "wrong", "header is not valid"),
    Behaviour("many-dimensions", "wrong", "a shape that no array can have"),
    Behaviour("vast-and-empty", "wrong", "a shape that no array can have"),
    Behaviour("nan-values", "wrong", "not finite"),
    Behaviour("link", "wrong", "cannot be opened"),
    Behaviour("device", "wrong", "cannot be opened"),
    Behaviour("pipe", "wrong", "not a regular file"),
    Behaviour("folder", "wrong", "not a regular file"),
]


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    status: str
    reason: str
    log_tail: list[str]
    good_status: str
    seconds: float
    """Of the whole case, the good runner's part included."""
    processes_left: int
    files_left: int
    growth_bytes: int
    """Of the driver's resident memory, at most."""


def attempt(behaviour: Behaviour, folder: Path) -> Outcome:
    """Measure a case with this runner and a good one."""
    artifacts, before = folder / "artifacts", places.artifacts
    places.artifacts = lambda: artifacts
    known = _processes()
    try:
        measurement = _measurement(behaviour, folder)
        started = time.monotonic()
        with _memory() as memory:
            measurement.run(Silent())
        seconds = time.monotonic() - started
        cells = {cell.label: cell for cell in measurement.cells()}
    finally:
        places.artifacts = before
    bad, good = cells["candle:cpu"], cells["burn:flex"]
    return Outcome(
        status=bad.status,
        reason=bad.reason or "",
        log_tail=bad.log_tail,
        good_status=good.status,
        seconds=seconds,
        processes_left=len(_processes() - known),
        files_left=sum(1 for path in (artifacts / "scratch").rglob("*") if not path.is_dir()),
        growth_bytes=max(memory) - memory[0],
    )


def _measurement(behaviour: Behaviour, folder: Path) -> CaseMeasurement:
    case = next(case for case in model("llama-tiny").cases if case.task == "infer")
    for name, value in {"weights": 0.0, "inputs": 0.0, "later": 0.0, "expected": 1.0}.items():
        write_tensors(folder / f"{name}.safetensors", {"logits": np.array([value], dtype="<f8")})
    sampling = Sampling(launches=1, min_samples=2, max_samples=4, budget_s=0.2)
    suite = Suite(
        title="hostile",
        models=["llama-tiny"],
        tasks=["infer"],
        gate={"f32": GateLimits(8.0, 1e-6)},
        sampling=sampling,
        timeout_s=behaviour.timeout_s,
        limits=behaviour.limits,
    )
    plan = Plan(
        suite_name="hostile",
        suite=suite,
        cases=[case],
        candidates=[Candidate(found, variants[0]) for found, variants in map(parse, ("candle", "burn"))],
        sampling=sampling,
        rounds=2,
        threads=1,
        weights=None,
    )
    files = CaseFiles(
        case=case,
        weights=folder / "weights.safetensors",
        weights_source="seeded",
        weights_sha256="a" * 64,
        inputs=folder / "inputs.safetensors",
        later_inputs=[folder / "later.safetensors"],
        expected=folder / "expected.safetensors",
        recorded=Recorded(
            inputs_sha256="b" * 64, later_inputs_sha256=["c" * 64], expected_sha256="d" * 64, noise={"outputs": 1e-7}
        ),
    )
    runners = {"candle:cpu": _built(behaviour.program, behaviour.name), "burn:flex": _built(FAKE, "good")}
    return CaseMeasurement(case, plan, runners, files)


def _built(program: Path, name: str) -> Built:
    record = BuildRecord(
        schema=1, framework="fake", version="1.0", features=[], compiler="none", executable_sha256=None
    )
    return Built([sys.executable, str(program), name], record)


def _processes() -> set[tuple[int, float]]:
    """Every living process that came from a runner, but those of another driver: below this process, or nobody's."""
    found = set()
    for process in psutil.process_iter(["pid", "create_time", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE and process.info["pid"] != os.getpid()
        if alive and words and ("time.sleep(600)" in " ".join(words) or str(HERE) in " ".join(words)):
            with suppress(psutil.Error):
                above = [each.pid for each in process.parents()]
                if os.getpid() in above or process.ppid() in (0, 1):
                    found.add((process.info["pid"], process.info["create_time"]))
    return found


@contextmanager
def _memory() -> Iterator[list[int]]:
    """Resident bytes of this process, sampled while the block runs."""
    own, ended = psutil.Process(), threading.Event()
    seen = [own.memory_info().rss]

    def sample() -> None:
        while not ended.wait(0.02):
            seen.append(own.memory_info().rss)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
