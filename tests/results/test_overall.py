"""The geometric mean over cases."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run_documents import WRONG, cell, run

from arena_py.report.verdict import means
from arena_py.results.overall import overall

CASES = ("a/infer/b1", "b/infer/b1", "a/train/b1")


def steady(label, case, ms, **changes):
    return cell(label, [ms] * 12, case=case, **changes)


def test_each_variant_is_compared_with_the_one_that_passed_most_cases():
    cells = [steady("pytorch:eager", case, 10) for case in CASES]
    cells += [steady("candle:cpu", "a/infer/b1", 20), steady("candle:cpu", "b/infer/b1", 45)]
    cells += [steady("candle:cpu", "a/train/b1", 30)]
    (found,) = overall(run(*cells).cells, seed=0)
    assert (found.label, found.base, found.task, found.cases) == ("candle:cpu", "pytorch:eager", "infer", 2)
    assert found.ratio.value == pytest.approx(math.sqrt(2 * 4.5))
    assert means(run(*cells)) == [
        "infer: candle:cpu takes 3.00 x [3.00, 3.00] the time of pytorch:eager, geometric mean of 2 cases"
    ]


def test_of_those_that_passed_equally_many_readers_know_the_times_of_pytorch():
    cells = [steady(label, case, 10) for label in ("burn:flex", "pytorch:eager") for case in CASES]
    assert [(each.label, each.base) for each in overall(run(*cells).cells, seed=0)] == [("burn:flex", "pytorch:eager")]


def test_what_is_wrong_is_in_no_mean_and_is_no_base():
    cells = [steady("pytorch:eager", case, 10, error=WRONG) for case in CASES]
    cells += [steady(label, case, ms) for label, ms in (("burn:flex", 10), ("candle:cpu", 20)) for case in CASES]
    assert [(each.label, each.base) for each in overall(run(*cells).cells, seed=0)] == [("candle:cpu", "burn:flex")]


def test_nothing_passed_or_nothing_to_compare_with():
    assert overall([], seed=0) == []
    assert means(run(steady("burn:flex", "a/infer/b1", 1), steady("burn:flex", "b/infer/b1", 1))) == []
