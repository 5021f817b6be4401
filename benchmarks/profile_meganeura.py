"""Where Meganeura's graphs spend their time on the device: its own timestamps, dispatch by dispatch.

    python benchmarks/profile_meganeura.py [--case smollm2-135m/infer/b1s128]...

Starts the runner with `MEGANEURA_GPU_TIMING=1`, lets it prepare each case, and prints what it writes to its log: the
kinds of dispatches that take longest. Then samples within both boundaries, untimed inside, so that what is not on the
device shows: what `host` takes longer than `device` is moving inputs and outputs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import get_args

from arena_py.build import NotBuilt, locate, using
from arena_py.contract.messages import BoundaryName
from arena_py.contract.session import RunnerFailed, Session
from arena_py.manifest import framework, model
from arena_py.measure.machine import physical_cores
from arena_py.verify import cases
from arena_py.verify.canon import Canon

SAMPLES = 10
NS_PER_MS = 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="MODEL/TASK/SHAPE")
    parser.add_argument("--python-env", choices=("own", "current"), default="own")
    options = parser.parse_args()
    found = framework("meganeura")
    variant = found.variant("vulkan")
    with using(options.python_env):
        built = locate(found, variant)
        if isinstance(built, NotBuilt):
            raise SystemExit(f"error: meganeura:vulkan is not built: {built.reason}")
        for name in options.case or ["smollm2-135m/infer/b1s128", "smollm2-135m/latency/b1s1"]:
            case = next(each for each in model(name.partition("/")[0]).cases if each.name == name)
            with Canon(physical_cores()) as canon:
                files = cases.prepare(case, canon)
            print(f"== {name}", flush=True)
            for profiled in (True, False):
                timing = {"MEGANEURA_GPU_TIMING": "1"} if profiled else {}
                with (
                    tempfile.TemporaryDirectory() as scratch,
                    Session(
                        built.command,
                        scratch=Path(scratch),
                        environment=built.environment(variant) | timing,
                        threads=physical_cores(),
                    ) as session,
                ):
                    exercise = files.exercise("vulkan")
                    try:
                        print(f"device: {exercise.load(session).device}", flush=True)
                        exercise.prepare(session)
                    except RunnerFailed as error:
                        raise SystemExit(f"error: {name}: {error.reason}") from None
                    if profiled:
                        print("\n".join(line for line in session.log_tail(200) if " ms " in line or "profile" in line))
                        continue
                    for boundary in get_args(BoundaryName):
                        session.run(3, boundary)
                        samples = session.run(SAMPLES, boundary).samples_ns
                        print(f"{boundary}: {statistics.median(samples) / NS_PER_MS:.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
