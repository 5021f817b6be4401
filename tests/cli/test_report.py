"""`report`: what it writes, and what it refuses."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

from audit_documents import audit, entry, executable
from run_documents import around, cell, run

from arena_py.cli.app import main
from arena_py.results import audits
from arena_py.results.store import encode


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a" / "run.json"
    path.parent.mkdir()
    path.write_bytes(encode(run(cell("candle:cpu", around(100)), cell("burn:<b>", status="crashed", reason="<i>died"))))
    return path


def test_a_site_has_an_index_a_page_a_run_and_a_page_a_model(stored, tmp_path):
    assert main(["report", str(stored), "--site", str(tmp_path / "site")]) == 0
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    for page in ("runs/20260101T000000Z-quick.html", "models/tiny.html"):
        assert f'href="{page}"' in index
        assert "../assets/arena.js" in (tmp_path / "site" / page).read_text("utf-8")
    assert (tmp_path / "site" / "assets" / "vega.js").stat().st_size > 500_000


def test_markdown_fits_a_comment_and_names_what_broke(stored, capsys):
    assert main(["report", str(stored), "--format", "md"]) == 0
    told = capsys.readouterr().out
    assert len(told) < 65_536
    assert "**crashed** &lt;i&gt;died" in told
    assert "<details><summary>tiny/infer/b1</summary>" in told


def test_numbers_that_are_none_are_refused(stored, capsys):
    stored.write_bytes(stored.read_bytes().replace(b'"value": 1.0', b'"value": NaN', 1))
    assert main(["report", str(stored), "-o", str(stored.parent / "r.html")]) == 2
    assert "not a run document" in capsys.readouterr().err
    assert not (stored.parent / "r.html").exists()


@pytest.fixture
def audited(tmp_path, monkeypatch):
    """A store with one audit, and one of another version."""
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    found = audit(entry("candle:cpu", executable=executable(code=(("a_crate_of_its_own", 9),))))
    for name, content in (("one", audits.encode(found)), ("old", b'{"schema": 0}')):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / audits.AUDIT).write_bytes(content)


def test_stored_audits_say_what_runners_are_made_of_and_those_of_another_version_are_told(
    stored, audited, tmp_path, capsys
):
    assert main(["report", str(stored), "-o", str(tmp_path / "r.html")]) == 0
    assert '"a_crate_of_its_own"' in (tmp_path / "r.html").read_text("utf-8")
    assert "left out: " in capsys.readouterr().err
    assert main(["report", str(stored), "-o", str(tmp_path / "r.html"), "--audit", "one"]) == 0
    assert "left out" not in capsys.readouterr().err
    assert main(["report", str(stored), "-o", str(tmp_path / "r.html"), "--audit", "old"]) == 2
    assert "schema 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--site", "x", "-o", "y"],
        ["--format", "md", "--open"],
        ["nowhere"],
        ["--format", "md", "--audit", "x"],
    ],
)
def test_mistakes_are_told(words, capsys):
    assert main(["report", *words]) == 2
    assert "hint:" in capsys.readouterr().err
