"""`diff`: words, exit codes and formats."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

from run_documents import WRONG, around, cell, run, turns

from arena_py.cli import diff
from arena_py.cli.app import main
from arena_py.errors import ArenaError
from arena_py.results import baselines, store


def keep(folder, documents):
    for name, document in documents.items():
        place = folder / "results" / name
        place.mkdir(parents=True)
        store.write(place / store.RUN, store.encode(document))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    made = {
        "a": run(cell("candle:cpu", around(100)), cell("burn:flex", around(140))),
        "slower": run(cell("candle:cpu", around(105)), cell("burn:flex", around(140))),
        "wrong": run(cell("candle:cpu", around(150)), cell("burn:flex", around(140), error=WRONG)),
    }
    keep(tmp_path, made)
    return made


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a", "a"], 0),
        (["a", "slower"], 3),
        (["a", "slower", "--fail-above", "4%"], 3),
        (["a", "slower", "--fail-above", "0.06"], 0),
        (["a", "wrong"], 1),
        (["a", "wrong", "--fail-above", "60%"], 1),
        (["slower", "a"], 0),
        (["a"], 2),
        ([], 2),
        (["a", "nowhere"], 2),
        (["a", "slower", "--fail-above", "much"], 2),
        (["a", "slower", "--fail-above", "5"], 2),
        (["a", "slower", "--baseline", "main"], 2),
        (["--baseline", "nowhere"], 2),
    ],
)
def test_exit_codes_tell_regression_wrong_and_usage_apart(runs, capsys, words, code):
    assert main(["diff", *words]) == code
    if code == 2:
        assert capsys.readouterr().err.startswith("error: ")


def test_the_table_says_what_became_slower(runs, capsys):
    main(["diff", "a", "slower"])
    out = capsys.readouterr().out
    assert "1.050" in out
    assert "regression" in out
    assert "1 regression, 1 tie" in out


@pytest.mark.parametrize("words", [[], ["--format", "md"]])
def test_one_launch_is_no_alarm_and_what_to_do_is_said(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    once = {"a": turns(around(100), launches=1), "slower": turns(around(130), launches=1)}
    cases = ("tiny/infer/b1", "tiny/infer/b2")
    keep(
        tmp_path, {name: run(*(cell("candle:cpu", turns=of, case=case) for case in cases)) for name, of in once.items()}
    )
    assert main(["diff", "a", "slower", "--fail-above", "5%", *words]) == 0
    out = capsys.readouterr().out
    assert "2 unclear" in out
    assert "over 2 cases, 2 of them unclear" in out
    assert "--launches 3" in out


def test_what_differs_is_said_before_the_numbers(runs, tmp_path, capsys):
    text = (tmp_path / "results" / "slower" / "run.json").read_text().replace('"A CPU"', '"Another CPU"')
    (tmp_path / "results" / "slower" / "run.json").write_text(text)
    main(["diff", "a", "slower"])
    out = capsys.readouterr().out
    assert out.index("NOT THE SAME") < out.index("Another CPU") < out.index("candle:cpu")


def test_a_baseline_is_compared_with_the_latest_or_a_named_run(runs, capsys):
    baselines.save("main", runs["a"])
    assert main(["diff", "--baseline", "main", "slower"]) == 3
    assert main(["diff", "--baseline", "main"]) == 1  # `wrong` was written last


def test_json_holds_everything(runs, capsys):
    main(["diff", "a", "slower", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert {each["label"]: each["verdict"] for each in found["cells"]} == {
        "candle:cpu": "regression",
        "burn:flex": "tie",
    }


def test_markdown_is_a_page(runs, capsys):
    main(["diff", "a", "wrong", "--format", "md"])
    out = capsys.readouterr().out
    assert out.startswith("# ")
    assert "newly wrong: wrong: logits: error" in out


def test_a_share_is_a_percentage_or_a_part():
    assert diff.share("5%") == diff.share("0.05") == 0.05
    assert diff.share(None) == 0
    assert diff.share("150%") == 1.5
    for words in ("-1%", "nan", "5", "inf%"):
        with pytest.raises(ArenaError, match="not a share"):
            diff.share(words)
