"""`conform`: all runners pass it, and runners that are wrong or rude do not."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

from arena_py.cli.conform import conform
from arena_py.contract.schema import FOLDER
from arena_py.contract.tensors import TensorFile
from arena_py.errors import ArenaError
from arena_py.verify import conformance, rules
from arena_py.verify.canon import Canon
from arena_py.verify.conformance import Target
from arena_py.verify.golden import GoldenCase, cases, default_folder, other_inputs
from arena_py.verify.yardstick import lowered

FAKE = Path(__file__).parents[1] / "contract" / "fake_runner.py"
GOLDEN = cases(default_folder())
VARIANTS = cases(default_folder().parent / "variants")
"""Other configurations of the same architectures."""


def schema(name: str) -> dict[str, object]:
    return json.loads((FOLDER / f"{name}.schema.json").read_text())


@pytest.mark.parametrize("case", [*GOLDEN, *VARIANTS], ids=lambda case: case.name)
def test_every_runner_is_right_on_every_golden_case(target: Target, case: GoldenCase) -> None:
    results = list(conformance.check(target, case))
    assert {result.task for result in results} >= {"infer"}
    wrong = [result for result in results if result.outcome not in ("passed", "unsupported")]
    assert not wrong


def test_every_runner_has_llama(target: Target) -> None:
    (case,) = (case for case in GOLDEN if case.name == "llama-tiny")
    results = {result.task: result.outcome for result in conformance.check(target, case)}
    assert results["infer"] == "passed"


def test_training_again_gives_the_same_bits(target: Target, tmp_path: Path) -> None:
    for case in GOLDEN:
        files = []
        for launch in ("a", "b"):
            with target.session(tmp_path) as session:
                if "train" not in session.description.architectures.get(case.model.architecture, []):
                    continue
                session.load(case.model, case.weights, backend=target.backend)
                session.prepare("train", case.inputs)
                session.run(1)
                session.outputs(tmp_path / launch)
                files.append((tmp_path / launch).read_bytes())
        assert files.count(files[0]) == len(files) if files else True, case.name


def test_every_runner_keeps_every_rule(target: Target) -> None:
    broken = [outcome for outcome in rules.check(target, rules.easiest(target, GOLDEN)) if outcome.broken]
    assert not broken


def test_what_runners_say_is_as_in_the_schemas(target: Target, tmp_path: Path) -> None:
    case = rules.easiest(target, GOLDEN)
    model = {"architecture": case.model.architecture, "config": case.model.config}
    requests = [
        {
            "op": "load",
            "model": model,
            "weights": str(case.weights),
            "backend": target.backend,
            "precision": "f32",
            "threads": target.threads,
        },
        {"op": "prepare", "task": "infer", "inputs": str(case.inputs), "options": {}},
        {"op": "run", "iterations": 2, "boundary": "host"},
        {"op": "bind", "inputs": str(case.inputs)},
        {"op": "outputs", "path": str(tmp_path / "outputs.safetensors")},
        {"op": "usage"},
        {"op": "shutdown"},
    ]
    with target.session(tmp_path) as session:
        for number, request in enumerate(requests):
            jsonschema.validate({"id": number, **request}, schema("contract.request"))
            answer = session.exchange(json.dumps({"id": number, **request}).encode())
            assert answer.error is None
            jsonschema.validate(answer.ok, schema(f"contract.ok.{request['op']}"))


@pytest.fixture
def fake(tmp_path: Path):
    def make(behaviour: str) -> Path:
        script = tmp_path / f"fake-{behaviour.replace('@', '-')}"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "{behaviour}" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    return make


def test_a_runner_that_answers_everything_wrongly_is_told_so(fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert conform(str(fake("good")), golden=default_folder() / "llama-tiny") == 1
    shown = capsys.readouterr().out
    assert "wrong" in shown
    assert "rule broken: bad weights are `invalid_weights`, by name: answered ok" in shown


def test_a_runner_that_decodes_nothing_is_wrong(fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert conform(str(fake("decodes")), golden=default_folder() / "llama-tiny", rules=False) == 1
    assert "tokens: missing, expected [2, 5]" in capsys.readouterr().out


@pytest.fixture(scope="module")
def canon():
    with Canon(2) as canon:
        yield canon


@pytest.mark.parametrize("case", [GOLDEN[0], GOLDEN[1]], ids=lambda case: case.name)
def test_a_lower_precision_has_limits_of_its_own(
    case: GoldenCase, canon: Canon, runner: Callable[[str], Target]
) -> None:
    in_bf16 = msgspec.structs.replace(runner("pytorch"), precision="bf16")
    assert "wrong" not in _outcomes(in_bf16, lowered(case, "bf16", canon))
    assert "wrong" in _outcomes(in_bf16, lowered(case, "tf32", canon))
    assert "wrong" not in _outcomes(runner("pytorch"), lowered(case, "tf32", canon))


def test_what_pytorch_itself_cannot_compute_in_a_precision_is_not_verified(
    canon: Canon, runner: Callable[[str], Target]
) -> None:
    (case,) = (case for case in GOLDEN if case.name == "smolvla-expert-tiny")
    in_bf16 = msgspec.structs.replace(runner("pytorch"), precision="bf16")
    results = list(conformance.check(in_bf16, lowered(case, "bf16", canon)))
    assert {result.outcome for result in results} == {"unsupported"}
    assert "not verifiable in bf16: PyTorch's own error (outputs) is" in (results[0].reason or "")


def _outcomes(target: Target, case: GoldenCase) -> set[str]:
    return {result.outcome for result in conformance.check(target, case)}


def test_a_precision_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert conform("pytorch", golden=default_folder() / "llama-tiny", precision="bf16", threads=2) == 0
    assert "pytorch:eager in bf16" in capsys.readouterr().out
    with pytest.raises(ArenaError, match="no limits for precision f64"):
        conform("pytorch", golden=default_folder() / "llama-tiny", precision="f64")


def test_a_runner_that_crashes_is_quoted(fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert conform(str(fake("crash@load")), golden=default_folder() / "llama-tiny", rules=False) == 1
    assert "the roof is on fire" in capsys.readouterr().out


def test_what_cannot_be_conformed_is_said(tmp_path: Path, fake) -> None:
    with pytest.raises(ArenaError, match="not an executable"):
        conform(str(tmp_path / "absent"))
    with pytest.raises(ArenaError, match="no such folder of golden cases"):
        conform(str(fake("good")), golden=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArenaError, match="holds no golden case"):
        conform(str(fake("good")), golden=tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ArenaError, match="not a golden case"):
        conform(str(fake("good")), golden=tmp_path / "empty")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_other_inputs_have_the_same_form_and_other_values(case: GoldenCase, tmp_path: Path) -> None:
    with TensorFile(case.inputs) as old, TensorFile(other_inputs(case.inputs, tmp_path / "o.safetensors")) as new:
        assert {n: (t.dtype, t.shape) for n, t in old.tensors.items()} == {
            n: (t.dtype, t.shape) for n, t in new.tensors.items()
        }
        assert all(not np.array_equal(old.read(name), new.read(name)) for name in old.tensors)
