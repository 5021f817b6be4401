"""The gate's own test: every mistake rejected wherever it applies, every right runner passes, well apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from arena_py.cli.verify import built
from arena_py.contract.messages import AdamW, Sgd
from arena_py.contract.session import Session
from arena_py.contract.tensors import TensorFile, write_tensors
from arena_py.frameworks.defects import DEFECTS, Subject, applicable
from arena_py.manifest import suite
from arena_py.measure.plan import Selection, make_plan
from arena_py.report import self_test as report
from arena_py.results.document import TensorError, Verification
from arena_py.verify import conformance, gate, trials
from arena_py.verify.canon import Canon
from arena_py.verify.golden import GoldenCase, cases, default_folder
from arena_py.verify.norms import SMALL, compare
from arena_py.verify.self_test import SEPARATION, Examined, Outcome, SelfTest, nearest
from arena_py.verify.updates import UNIT_ROUNDOFF, sensitivity, update_noise, updated

THREADS = 2
LIMITS = suite("quick").gate["f32"]
GOLDEN = cases(default_folder())


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """What `verify --self-test` tries, of fewer tiny models, with PyTorch as the right runner."""
    plan = make_plan(Selection(suite="quick", models=["llama-tiny"]))
    (right,) = built(["pytorch"], THREADS)
    with Canon(THREADS) as canon, SelfTest([right], THREADS) as test:

        def tried() -> Iterator[trials.Trial]:
            for case in GOLDEN:
                yield from trials.of_golden(case)
            for case in plan.cases:
                yield trials.of_model(case, canon, LIMITS)
            yield from trials.small(plan.cases, canon, LIMITS)

        return list(test.run(tried()))


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_mistake_is_rejected_wherever_it_applies(outcomes: list[Outcome], defect: str) -> None:
    tried = [(outcome.trial, one) for outcome in outcomes for one in outcome.wrong if one.runner == defect]
    assert tried, "it applies to no case: nothing was tested"
    assert [(trial, one.why) for trial, one in tried if not one.rejected] == []


def test_right_runners_pass_everywhere(outcomes: list[Outcome]) -> None:
    assert [
        (outcome.trial, one.runner, one.why) for outcome in outcomes for one in outcome.right if not one.passed
    ] == []
    assert all({one.runner for one in outcome.right} == {"pytorch:eager", "without a mistake"} for outcome in outcomes)


def test_right_and_wrong_are_well_apart(outcomes: list[Outcome]) -> None:
    near = {outcome.trial: outcome.nearest.separation for outcome in outcomes if outcome.nearest}
    assert len(near) == len(outcomes)
    assert {trial: value for trial, value in near.items() if value < SEPARATION} == {}


def test_the_report_has_every_case_and_every_mistake(outcomes: list[Outcome]) -> None:
    page = report.markdown(outcomes, ["pytorch:eager"])
    assert all(f"| {name} " in page for name in DEFECTS)
    assert all(f"| {outcome.trial} " in page for outcome in outcomes)
    assert "wrong runners were rejected, all right ones passed" in page


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_the_gradient_of_no_parameter_may_be_zero(case: GoldenCase, tmp_path: Path) -> None:
    """Not only of the one that the wrong runner picks; unless the right one almost vanishes itself."""
    names = case.names("train")
    with TensorFile(case.expected) as file:
        right = {name: file.read(name) for name in names}
    gradients = [name for name in names if name.startswith("grad.")]
    scale = np.sqrt(np.mean(np.concatenate([right[name].ravel() ** 2 for name in gradients])))
    passed = []
    for name in gradients:
        output = tmp_path / "outputs.safetensors"
        changed = {**right, name: np.zeros_like(right[name])}
        write_tensors(output, {each: values.astype(np.float32) for each, values in changed.items()})
        if gate.decide(compare(output, case.expected, names), case.noise(), LIMITS).passed:
            passed.append(name)
    for name in passed:
        assert np.sqrt(np.mean(right[name] ** 2)) < SMALL * scale * 0.1, name
    assert len(passed) < len(gradients) / 4


def subject(architecture: str = "llama", task: str = "infer", **changes: object) -> Subject:
    case = next(case for case in GOLDEN if case.model.architecture == architecture)
    config = dict(case.model.config) | dict(changes.pop("config", {}))  # type: ignore[call-overload]
    sizes = changes.pop("sizes", {"seq": 12})
    return Subject(architecture=architecture, config=config, task=task, sizes=sizes, **changes)  # type: ignore[arg-type]


def names(of: Subject) -> set[str]:
    return {defect.name for defect in applicable(of)}


def test_where_a_mistake_applies_follows_from_the_configuration() -> None:
    whole = names(subject(task="train"))
    assert {
        "rope-base",
        "rope-pairs",
        "no-causal-mask",
        "grouped-heads",
        "loss-not-shifted",
        "tied-gradient-once",
    } <= whole
    assert "tanh-gelu" not in whole
    assert "tanh-gelu" in names(subject(config={"hidden_act": "gelu"}))
    assert "grouped-heads" not in names(subject(config={"num_key_value_heads": 4}))
    assert "grouped-heads" not in names(subject(config={"num_key_value_heads": 1}))
    assert "tied-gradient-once" not in names(subject(task="train", config={"tie_word_embeddings": False}))
    assert not {"rope-base", "rope-pairs"} & names(subject(config={"head_dim": 2}))
    assert not {"no-causal-mask", "rope-base", "last-position-only"} & names(subject(sizes={"seq": 1}))
    assert "skipped-layer" in names(subject("resnet"))
    assert "skipped-layer" not in names(subject("resnet", config={"depths": [1, 1, 1, 1]}))
    assert "cached-outputs" not in names(subject(rebinds=False))
    assert names(subject(small=True)) == {"norm-epsilon"}
    adam = AdamW(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    assert "no-bias-correction" in names(subject(task="step", optimizer=adam))
    assert "no-bias-correction" not in names(subject(task="step", optimizer=Sgd(lr=0.1)))


def judged(name: str, *errors: float, problems: tuple[str, ...] = ()) -> Examined:
    tensors = [TensorError(name=f"grad.{number}", error=error, limit=1e-5) for number, error in enumerate(errors)]
    passed = not problems and all(tensor.passed for tensor in tensors)
    verification = Verification(passed=passed, worst=None, tensors=tensors, problems=list(problems))
    return Examined(trial="t", runner=name, verification=verification)


def trial(**noise: float) -> trials.Trial:
    return trials.Trial(
        name="t", subject=subject(), noise=noise, limits=LIMITS, compared=lambda *_: pytest.fail("not run")
    )


def test_separation_is_the_worst_tensor_over_the_largest_right_error_of_its_group() -> None:
    right = [judged("a", 1e-6, 3e-6), judged("b", 2e-6, 1e-6)]
    wrong = [judged("far", 1e-6, 3e-2), judged("near", 6e-5, 1e-6), judged("absent", problems=("missing",))]
    found = {near.defect: near.separation for near in nearest(trial(gradients=1e-6), right, wrong)}
    assert found == {"far": pytest.approx(1e4), "near": pytest.approx(20)}


def test_a_tensor_with_noise_of_its_own_is_taken_by_it() -> None:
    named = trial(gradients=1e-4, **{"grad.0": 1e-6})
    (near,) = nearest(named, [judged("a", 1e-7, 1e-4)], [judged("x", 5e-5, 1e-4)])
    assert (near.tensor.name, near.separation) == ("grad.0", pytest.approx(50))


def test_what_must_not_be_is_a_problem() -> None:
    crashed = Examined(trial="t", runner="dead", verification=None, failure="run: died")
    near = nearest(trial(gradients=1e-6), [judged("a", 9e-6)], [judged("close", 2e-5)])
    outcome = Outcome(
        trial="t", right=[judged("a", 1.0), crashed], wrong=[judged("through", 1e-7), crashed, judged("close", 2e-5)],
        by_defect=near,
    )  # fmt: skip
    told = "\n".join(outcome.problems)
    assert "a is right and does not pass" in told
    assert "dead is right and does not pass: run: died" in told
    assert "through passes" in told
    assert "dead could not be tried" in told
    assert "close is only 2.2 times" in told


def test_noise_of_a_step_is_that_of_the_gradient_carried_through_the_update() -> None:
    generator = np.random.default_rng(0)
    value, gradient = generator.normal(size=4000), generator.normal(scale=1e-3, size=4000)
    for optimizer in conformance.OPTIMIZERS.values():
        noisy = gradient + generator.normal(scale=1e-3 * np.sqrt(np.mean(gradient**2)), size=4000)
        moved = updated(value, noisy, optimizer) - updated(value, gradient, optimizer)
        measured = np.sqrt(np.mean(moved**2) / np.mean(updated(value, gradient, optimizer) ** 2))
        found = update_noise({"p": (gradient, updated(value, gradient, optimizer))}, optimizer, 1e-3)["p"]
        assert found - UNIT_ROUNDOFF == pytest.approx(measured, rel=0.1)
    assert sensitivity(gradient, Sgd(lr=0.5)).max() == 0.5


def test_a_wrong_runner_says_which_mistake_it_has(pytorch_python: Path, tmp_path: Path) -> None:
    from arena_py.verify.self_test import wrong_target

    with Session(wrong_target("cpu", 1).command, scratch=tmp_path) as session:
        backends = {backend.id: backend.device for backend in session.description.backends}
    assert backends.keys() == {"cpu", *DEFECTS}
    assert all(backends[name] == defect.what for name, defect in DEFECTS.items())
