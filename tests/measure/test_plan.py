"""From words to cells."""

import pytest

from arena_py.errors import ArenaError
from arena_py.measure.plan import Selection, make_plan


def names(plan):
    return [case.name for case in plan.cases]


def labels(plan):
    return [candidate.label for candidate in plan.candidates]


def test_a_suite_alone_is_its_models_tasks_and_every_framework():
    plan = make_plan(Selection(suite="default"))
    assert names(plan) == ["smollm2-135m/infer/b1s128", "smollm2-135m/latency/b1s1", "smollm2-135m/train/b1s128"]
    assert {label.partition(":")[0] for label in labels(plan)} >= {"pytorch", "candle", "burn", "luminal", "meganeura"}
    assert plan.cells == len(plan.cases) * len(plan.candidates)


def test_models_and_tasks_may_be_others_than_the_suites():
    plan = make_plan(Selection(suite="default", models=["llama-tiny"], tasks=["step", "infer"]))
    assert names(plan) == ["llama-tiny/step/b2s12", "llama-tiny/infer/b2s12"]


def test_cases_of_a_model_stand_together():
    plan = make_plan(Selection(suite="quick", models=["resnet-tiny", "llama-tiny"], tasks=["infer", "train"]))
    assert [case.model.name for case in plan.cases] == ["resnet-tiny"] * 2 + ["llama-tiny"] * 2


def test_named_twice_is_measured_once():
    plan = make_plan(Selection(models=["llama-tiny"] * 2, tasks=["infer"] * 2, frameworks=["candle", "candle:cpu"]))
    assert names(plan) == ["llama-tiny/infer/b2s12"]
    assert labels(plan) == ["candle:cpu"]


def test_a_task_that_some_models_of_a_suite_lack_is_left_out_there():
    plan = make_plan(Selection(suite="quick", tasks=["decode"]))
    assert {case.task for case in plan.cases} == {"decode"}
    assert not any("resnet" in name for name in names(plan))


def test_options_override_the_suites_sampling():
    plan = make_plan(Selection(launches=1, rounds=3, budget_s=0.5, seed=9, threads=1))
    assert (plan.sampling.launches, plan.sampling.budget_s, plan.sampling.seed) == (1, 0.5, 9)
    assert plan.sampling.every_launch
    assert not make_plan(Selection()).sampling.every_launch
    assert (plan.rounds, plan.threads) == (3, 1)
    assert plan.sampling.min_samples == plan.suite.sampling.min_samples


def test_weights_of_the_users_need_one_model():
    make_plan(Selection(weights="seeded", suite="quick"))
    with pytest.raises(ArenaError, match="fits one model") as error:
        make_plan(Selection(weights="hub:someone/something", suite="quick"))
    assert error.value.hint == "name it with --model"
