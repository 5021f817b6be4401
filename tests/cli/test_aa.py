"""`aa`, with runners that pretend."""

from __future__ import annotations

import pytest
from pretend import pretend

from arena_py.cli.app import main
from arena_py.measure import machine
from arena_py.results import noise, store

WORDS = ["--model", "llama-tiny", "--task", "infer", "--launches", "1", "--rounds", "6", "--threads", "1"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    def make(expected=1.0, **behaviours):
        named = {label.replace("_", ":"): behaviour for label, behaviour in behaviours.items()}
        pretend(tmp_path / "case", named, monkeypatch.setattr, expected=expected)

    return make


def test_a_variant_is_measured_against_itself_and_the_floor_is_kept(world, capsys):
    world(candle_cpu="good")
    assert main(["aa", "candle", "--runs", "2", *WORDS]) == 0
    floor = noise.load(machine.machine(), 1)
    assert floor is not None
    assert floor.tasks["infer"].comparisons == 2
    assert floor.tasks["infer"].labels == ["candle:cpu"]
    out = capsys.readouterr().out
    assert "noise floor of infer" in out
    assert {cell.variant for cell in store.latest().cells} == {"cpu#1", "cpu#2"}


def test_compare_takes_the_floor_into_its_run(world, tmp_path):
    world(candle_cpu="good", burn_flex="good")
    main(["aa", "candle", "--runs", "1", *WORDS])
    out = str(tmp_path / "out")
    main(["compare", "--framework", "candle", "--framework", "burn:flex", "--output", out, *WORDS])
    assert store.load(tmp_path / "out").settings.noise_floor.keys() == {"infer"}


def test_what_does_not_pass_has_no_floor(world, capsys):
    world(expected=2.0, candle_cpu="good")
    assert main(["aa", "candle", "--runs", "1", *WORDS]) == 1
    assert "no variant passed" in capsys.readouterr().err
    assert noise.load(machine.machine(), 1) is None


def test_no_runs_is_a_mistake(world, capsys):
    world(candle_cpu="good")
    assert main(["aa", "candle", "--runs", "0", *WORDS]) == 2
