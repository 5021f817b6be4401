"""Warnings come from what was observed, and say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

from run_documents import MS, around, cell, run, turns

from arena_py.measure.warnings import warnings
from arena_py.results.document import Turn
from arena_py.results.observed import Gpu, Observation

FACTS = replace(run().machine, governor=None, load_average=[0.1, 0.1, 0.1])
CALM = [cell("candle:cpu", around(100))]


def observed(**fields):
    names = fields.keys()
    return [
        Observation(case="tiny/infer/b1", launch=0, round=number, **dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*fields.values(), strict=True))
    ]


def gpu(others_share):
    return Gpu(name="H200", others_share=others_share)


def told(facts=FACTS, threads=2, cells=CALM, observations=()):
    return "\n".join(warnings(facts, threads, cells, observations))


def test_nothing_is_said_of_a_calm_machine():
    calm = observed(others_threads=[None, 0.0, 0.05], swapped_out_bytes=[7, 7, 7], throttles=[3, 3, 3])
    assert told(observations=calm) == ""
    assert told() == ""


@pytest.mark.parametrize(
    ("facts", "threads", "words"),
    [
        ({"load_average": [8.0, 1.0, 1.0]}, 2, ["load average 8.0", "close other programs"]),
        ({"governor": "powersave"}, 2, ["powersave", "cpupower"]),
        ({}, 4, ["4 threads on 2 usable", "--threads 2"]),
        ({"usable_threads": 4.0, "threads": 4}, 4, ["4 threads on 2 cores", "--threads 2"]),
    ],
)
def test_what_was_so_before_the_run(facts, threads, words):
    found = told(replace(FACTS, **facts), threads)
    assert all(word in found for word in words)


def test_what_loaded_the_machine_and_then_ended_is_no_disturbance():
    busy = replace(FACTS, load_average=[8.0, 1.0, 1.0])
    assert told(busy, observations=observed(others_threads=[None, 0.0, 0.1])) == ""
    assert "load average 8.0" in told(busy, observations=observed(others_threads=[None, 1.0, 1.2]))
    assert "load average 8.0" in told(busy, observations=observed(others_threads=[None, None]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"others_threads": [None, 1.0, 1.2, 0.9]}, ["1.0 of 2 processors", "close them"]),
        ({"swapped_out_bytes": [1 << 20, 1 << 20, 5 << 20]}, ["4 MiB were swapped out", "--framework"]),
        ({"throttles": [3, 3, 9]}, ["throttled for its heat", "let it cool"]),
        (
            {"gpus": [[gpu(None), gpu(None)], [gpu(0.3), gpu(0.02)], [gpu(0.4), gpu(0.0)]]},
            ["GPU 0 (H200) in 35%", "another"],
        ),
        ({"frequency_mhz": [3000.0, 2900.0, 1200.0]}, ["between 1200 and 3000 MHz", "cpupower"]),
    ],
)
def test_what_happened_during_the_rounds(fields, words):
    found = told(observations=observed(**fields))
    assert found.count("\n") == 0
    assert all(word in found for word in words)


def launches(*samples_ms):
    turns = [
        Turn(launch=launch, round=number, order=launch * 100 + number, ns=[int(ms * MS)])
        for launch, of_launch in enumerate(samples_ms)
        for number, ms in enumerate(of_launch)
    ]
    return cell("candle:cpu", [1.0], turns=turns)


def test_a_launch_that_was_not_warm_in_its_first_round():
    cold = launches([130, 100, 100, 100], [125, 100, 101, 100])
    assert "first round of every launch took at least 25% longer" in told(cells=[cold])
    once = launches([130, 100, 100, 100], [100, 100, 101, 100])
    assert told(cells=[once]) == ""


def test_a_machine_that_becomes_slower():
    drifting = cell("candle:cpu", [100 * (1 + 0.01 * number) for number in range(30)])
    assert "the machine became 19% slower" in told(cells=[drifting])
    noisy = cell("candle:cpu", around(100, 30, 0.3))
    assert told(cells=[noisy]) == ""


def test_one_launch_does_not_show_what_launches_differ_by():
    once, thrice = cell("candle:cpu", turns=turns(around(100), launches=1)), cell("burn:flex", around(100))
    failed = cell("luminal:cpu", status="crashed")
    assert "single launches: 1 of 2 cells" in told(cells=[once, thrice, failed])
    assert told(cells=[thrice, failed]) == ""
