"""Where a Vulkan runner's executions spend their time on the device, by its framework's own timestamps.

    python benchmarks/profile_kernels.py [--framework meganeura|burn] [--case smollm2-135m/infer/b1s128]...

Starts the runner with its framework's profile asked for and lets it prepare each case. Meganeura writes the kinds of
dispatches that take longest to its log; of Burn each kernel is timed alone, and what three executions launched is
summed. Then samples within both boundaries without a profile, so that what is not on the device shows: what `host`
takes longer than `device` is moving inputs and outputs.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from arena_py.build import Built, NotBuilt, locate, using
from arena_py.contract.messages import BoundaryName
from arena_py.contract.session import RunnerFailed, Session
from arena_py.errors import ArenaError
from arena_py.manifest import case, framework
from arena_py.manifest.framework import Variant
from arena_py.measure.machine import physical_cores
from arena_py.verify import cases
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles

CASES = ("smollm2-135m/infer/b1s128", "smollm2-135m/latency/b1s1")
SAMPLES = 10
PROFILED = 3
"""Executions of Burn that are summed."""
LONGEST = 20
"""Kernels that are told."""
NS_PER_MS = 1e6
CUBECL = """[profiling.logger]
level = "medium"
file = "{folder}/kernels.log"
[autotune.logger]
level = "minimal"
file = "{folder}/autotune.log"
"""
LAUNCH = re.compile(r"^\| (?P<time>[\d.]+)(?P<unit>ns|µs|ms|s) +\| (?P<name>.+)$", re.MULTILINE)
"""A line of CubeCL's profile: a duration as Rust's `Debug` has it, and a kernel."""
MS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Profile:
    """How a framework is asked for its profile, and what it says."""

    lines: Callable[[Session, Path], list[str]]
    """Of a prepared session and its working folder; may execute."""
    environment: dict[str, str] = field(default_factory=dict)
    configure: Callable[[Path], None] = lambda _folder: None
    """Given the runner's working folder, before it is started."""


def _burn_configuration(folder: Path) -> None:
    (folder / "cubecl.toml").write_text(CUBECL.format(folder=folder))


def _burn_lines(session: Session, folder: Path) -> list[str]:
    """The kernels of an execution, by what they take together; each was waited for, so that they do not overlap."""
    log = folder / "kernels.log"
    _settled(log)
    before = len(log.read_text())
    session.run(PROFILED, "device")
    _settled(log)
    took: dict[str, float] = defaultdict(float)
    count = Counter[str]()
    for launch in LAUNCH.finditer(log.read_text()[before:]):
        took[launch["name"]] += float(launch["time"]) * MS[launch["unit"]] / PROFILED
        count[launch["name"]] += 1
    longest = sorted(took.items(), key=lambda each: -each[1])[:LONGEST]
    total = f"{sum(took.values()):.3f} ms in {sum(count.values()) / PROFILED:.0f} kernels an execution"
    return [total, *(f"{ms:9.3f} ms {count[name] / PROFILED:5.0f} x {name}" for name, ms in longest)]


def _settled(log: Path) -> None:
    """Wait until nothing more is written to it: CubeCL does so from a thread of its own."""
    size = -1
    while size != (size := log.stat().st_size if log.exists() else 0):
        time.sleep(0.5)


def _meganeura_lines(session: Session, _folder: Path) -> list[str]:
    return [line for line in session.log_tail(200) if " ms " in line or "profile" in line]


def _samples(session: Session, _folder: Path) -> list[str]:
    """The median of each boundary."""
    lines = []
    for boundary in get_args(BoundaryName):
        session.run(3, boundary)
        samples = session.run(SAMPLES, boundary).samples_ns
        lines.append(f"{boundary}: {statistics.median(samples) / NS_PER_MS:.3f} ms")
    return lines


PROFILES = {
    "meganeura": Profile(_meganeura_lines, environment={"MEGANEURA_GPU_TIMING": "1"}),
    "burn": Profile(_burn_lines, configure=_burn_configuration),
}
PLAIN = Profile(_samples)


def _tell(built: Built, variant: Variant, files: CaseFiles, profile: Profile) -> None:
    """Launch the runner on a case, and print what the profile says of it."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        profile.configure(scratch)
        environment = built.environment(variant) | profile.environment
        with Session(built.command, scratch=scratch, environment=environment, threads=physical_cores()) as session:
            exercise = files.exercise("vulkan")
            print(f"device: {exercise.load(session).device}", flush=True)
            prepared = exercise.prepare(session)
            print(f"first execution: {prepared.first_ns / NS_PER_MS:.0f} ms", flush=True)
            print("\n".join(profile.lines(session, scratch)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=tuple(PROFILES), default="meganeura")
    parser.add_argument("--case", action="append", help="MODEL/TASK/SHAPE")
    parser.add_argument("--python-env", choices=("own", "current"), default="own")
    options = parser.parse_args()
    found = framework(options.framework)
    variant = found.variant("vulkan")
    try:
        chosen = [case(name) for name in options.case or CASES]
    except ArenaError as error:
        parser.error(error.advised)
    with using(options.python_env):
        built = locate(found, variant)
        if isinstance(built, NotBuilt):
            raise SystemExit(f"error: {options.framework}:vulkan is not built: {built.reason}")
        for each in chosen:
            with Canon(physical_cores()) as canon:
                files = cases.prepare(each, canon)
            print(f"== {each.name}", flush=True)
            try:
                for profile in (PROFILES[options.framework], PLAIN):
                    _tell(built, variant, files, profile)
            except RunnerFailed as error:
                raise SystemExit(f"error: {each.name}: {error.reason}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
