"""Limits of precisions below float32: PyTorch's own error in them, on a machine that has no such device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from arena_py import places
from arena_py.manifest import Case, model, suite
from arena_py.verify import gate
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles, prepare
from arena_py.verify.conformance import limits_in

QUICK = "quick"


@pytest.fixture(scope="module")
def canon() -> Iterator[Canon]:
    with Canon(2) as found:
        yield found


def case(name: str) -> Case:
    return next(each for each in model(name.partition("/")[0]).cases if each.name == name)


@pytest.fixture(scope="module")
def trained(canon: Canon) -> CaseFiles:
    return prepare(case("llama-tiny/train/b2s12"), canon, precisions={"tf32", "bf16"})


def test_each_precision_errs_more_than_the_one_above_it(trained: CaseFiles) -> None:
    for group in ("gradients", "loss"):
        errors = [trained.noise_in(precision)[group] for precision in ("f32", "tf32", "bf16")]
        assert errors == sorted(errors)
    gradients = [trained.noise_in(precision)["gradients"] for precision in ("f32", "tf32", "bf16")]
    assert gradients[1] > 100 * gradients[0]
    assert gradients[2] > 2 * gradients[1]


def test_a_precision_passes_its_own_gate_and_a_coarser_one_does_not(
    trained: CaseFiles, canon: Canon, tmp_path: Path
) -> None:
    limits = suite(QUICK).gate
    for under, computed, passes in (("tf32", "tf32", True), ("bf16", "bf16", True), ("tf32", "bf16", False)):
        output = tmp_path / f"{under}-{computed}.safetensors"
        canon.run("lowered", trained.exercise("cpu", computed), output)
        decision = gate.check(output, trained.expected, trained.noise_in(under), limits[under])
        assert decision.passed is passes, (under, computed, decision.worst)
    canon.run("lowered", trained.exercise("cpu", "tf32"), output)
    assert not gate.check(output, trained.expected, trained.noise, limits["f32"]).passed


def test_where_pytorch_itself_is_far_off_nothing_is_verified(trained: CaseFiles) -> None:
    limits = suite(QUICK).gate["bf16"]
    assert trained.problem_in("bf16", limits) is None
    far = msgspec.structs.replace(trained.lower["bf16"], noise={"loss": 0.01, "gradients": 0.3})
    found = msgspec.structs.replace(trained, lower={"bf16": far})
    assert "not verifiable in bf16" in (found.problem_in("bf16", limits) or "")


def test_it_is_computed_once_and_again_when_what_computes_it_changed(
    trained: CaseFiles, canon: Canon, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(canon, "run", lambda *words: asked.append(words))
    again = prepare(trained.case, canon, precisions={"bf16"})
    assert (again.lower["bf16"], asked) == (trained.lower["bf16"], [])
    assert "tf32" not in again.lower


def test_every_suite_has_limits_for_lower_precisions() -> None:
    for path in sorted((places.manifests() / "suites").glob("*.toml")):
        assert {"f32", "tf32", "bf16"} <= suite(path.stem).gate.keys()


def test_golden_cases_have_the_limits_of_the_suites() -> None:
    assert {precision: limits_in(precision) for precision in suite(QUICK).gate} == suite(QUICK).gate
