"""The generator as the driver calls it: by its path, in PyTorch's environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from arena_py import places
from arena_py.verify.golden import cases, default_folder

SCRIPT = places.PACKAGE / "models" / "generate.py"
GOLDEN = cases(default_folder())


def generate(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False)


def specification(folder: Path, case: Any, **changes: Any) -> Path:
    whole = json.loads((case.folder / "config.json").read_text())
    spec = {key: whole[key] for key in ("architecture", "config", "shapes")} | {"seed": 0} | changes
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return path


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_weights_and_inputs_are_of_the_form_of_the_golden_ones(pytorch_python: Path, tmp_path: Path, case: Any) -> None:
    spec = specification(tmp_path, case)
    for what, golden in (("weights", case.weights), ("inputs", case.inputs)):
        made = tmp_path / f"{what}.safetensors"
        done = generate(pytorch_python, what, spec, made)
        assert done.returncode == 0, done.stderr
        ours, theirs = load_file(made), load_file(golden)
        assert {name: (a.dtype, a.shape) for name, a in ours.items()} == {
            name: (a.dtype, a.shape) for name, a in theirs.items()
        }
        for name, values in ours.items():
            assert np.isfinite(values).all()
            scale = theirs[name].std()
            assert values.std() < 4 * scale + 1e-3, name
            assert values.size < 8 or values.std() > scale / 4, name


def test_names_count_what_is_tied_once(pytorch_python: Path, tmp_path: Path) -> None:
    (case,) = (case for case in GOLDEN if case.name == "llama-tiny")
    done = generate(pytorch_python, "names", specification(tmp_path, case))
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout)
    assert names["parameters"] == 21_696
    assert names["tensors"] == {name: list(values.shape) for name, values in load_file(case.weights).items()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "perceptron"}, "architecture `perceptron`"),
        ({"shapes": {"batch": 1}}, "size `seq` is missing"),
        ({"seed": "x"}, "$.seed"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_specification_is_one_line(
    pytorch_python: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    spec = specification(tmp_path, GOLDEN[0], **changes)
    done = generate(pytorch_python, "inputs", spec, tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["paint"], ["weights", "spec.json"]])
def test_wrong_arguments_are_usage(pytorch_python: Path, arguments: list[str]) -> None:
    done = generate(pytorch_python, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected")
