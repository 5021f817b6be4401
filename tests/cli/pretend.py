"""`compare` with runners that only pretend: no build, no reference, real processes that speak the contract.

As a program (`python pretend.py FOLDER LABEL=BEHAVIOUR... -- ARGUMENTS`) it is `arena ARGUMENTS` in that world.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from arena_py import build, places
from arena_py.build import BuildRecord, Built, NotBuilt
from arena_py.cli.app import main
from arena_py.contract.tensors import write_tensors
from arena_py.errors import ArenaError
from arena_py.manifest import Case
from arena_py.measure import case as measured_case
from arena_py.verify import cases, generate
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles, Recorded

FAKE_RUNNER = Path(__file__).resolve().parents[1] / "contract" / "fake_runner.py"


def built(behaviour: str) -> Built:
    record = BuildRecord(
        schema=1,
        framework="fake",
        version="1.0",
        features=[],
        source_sha256="0" * 64,
        lock_sha256="0" * 64,
        compiler="none",
        seconds=0.0,
        bytes=1000,
        executable_sha256=None,
        started="2026-01-01T00:00:00Z",
    )
    return Built([sys.executable, str(FAKE_RUNNER), behaviour], record)


def outcome(behaviour: str) -> Built | NotBuilt:
    if behaviour.startswith("!"):
        return NotBuilt(behaviour[1:])
    return dataclasses.replace(built("good"), missing=(behaviour[1:],)) if behaviour[0] == "?" else built(behaviour)


def pretend(
    folder: Path, behaviours: dict[str, str], replace=setattr, *, expected: float = 1.0, files: bool = False
) -> None:
    """Let each label behave so (`!REASON`: not built; `?LIBRARY`: lacks it), and the reference be one number.

    With `files`, Arena makes, keeps and checks weights, inputs and references as it does, and only what PyTorch would
    write into them is a pretence.
    """
    outcomes = {label: outcome(behaviour) for label, behaviour in behaviours.items()}

    def ensure(selectors=(), progress=None, **_options):
        return {selector: outcomes[selector] for selector in selectors if ":" in selector}

    def locate(framework, variant):
        return outcomes.get(f"{framework.name}:{variant.name}", NotBuilt("was never built"))

    def prepare(case: Case, _canon, *, weights=None, precisions=(), progress=lambda _: None) -> CaseFiles:
        if weights == "bad.safetensors":
            raise ArenaError("bad.safetensors: tensor 'norm' is missing", hint="name every parameter")
        if case.task == "train":
            raise ArenaError("the reference run failed: out of memory", exit_code=1)
        progress("float64 reference")
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in {"weights": 0.0, "inputs": 0.0, "later": 0.0, "expected": expected}.items():
            write_tensors(folder / f"{name}.safetensors", {"logits": np.array([value], dtype="<f8")})
        return CaseFiles(
            case=case,
            weights=folder / "weights.safetensors",
            weights_source="seeded",
            weights_sha256="a" * 64,
            inputs=folder / "inputs.safetensors",
            later_inputs=[folder / "later.safetensors"],
            expected=folder / "expected.safetensors",
            recorded=Recorded(
                inputs_sha256="b" * 64,
                later_inputs_sha256=["c" * 64],
                expected_sha256="d" * 64,
                noise={"outputs": 1e-7},
            ),
        )

    replace(build, "ensure", ensure)
    replace(build, "locate", locate)
    replace(measured_case, "locate", locate)
    if files:
        pretend_pytorch(replace, expected)
    else:
        replace(cases, "prepare", prepare)
    replace(places, "artifacts", lambda: folder / "artifacts")


def pretend_pytorch(replace, expected: float) -> None:
    """Numbers instead of a model's, written as slowly as a disk may be."""

    def write(path: Path, value: float, dtype: str = "<f8") -> None:
        write_tensors(path, {"logits": np.array([value], dtype=dtype)})
        content = path.read_bytes()
        with path.open("wb") as file:
            for byte in range(0, len(content), 16):
                file.write(content[byte : byte + 16])
                file.flush()
                time.sleep(0.002)

    def inputs(spec, *paths):
        for number, path in enumerate(paths):
            write(path, spec.seed + number)

    def run(_canon, runner, _exercise, output):
        write(output, expected if runner == "reference" else expected * (1 + 1e-7))
        return []

    replace(generate, "weights", lambda spec, path: write(path, spec.seed))
    replace(generate, "inputs", inputs)
    replace(Canon, "run", run)
    replace(cases, "identity_of", lambda _name: "pretended")


if __name__ == "__main__":
    split = sys.argv.index("--")
    pretend(Path(sys.argv[1]), dict(pair.split("=", 1) for pair in sys.argv[2:split]))
    sys.exit(main(sys.argv[split + 1 :]))
