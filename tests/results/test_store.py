"""Runs on disk: whole or not at all, strict, and nothing lost to an interruption."""

import json

import jsonschema
import msgspec
import pytest
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from run_documents import WRONG, around, cell, run

from arena_py import places, scratch
from arena_py.errors import ArenaError
from arena_py.results import document, store
from arena_py.results.store import RunFolder


@pytest.fixture
def example():
    return run(
        cell("candle:cpu", around(100)),
        cell("burn:flex", around(120), error=WRONG),
        cell("luminal:cpu", status="unsupported"),
        cell("candle:cpu", around(3), case="tiny/train/b1"),
    )


def test_a_run_comes_back_as_it_was(example, tmp_path):
    folder = RunFolder.create("quick", tmp_path / "out")
    folder.finish(example, "# report\n")
    assert store.load(folder.path) == example
    assert store.load(folder.path / "run.json") == example
    assert (folder.path / "run.md").read_text() == "# report\n"


def test_the_document_fits_its_schema(example):
    schema = json.loads((places.PACKAGE.parent / "docs" / "schema" / "run.schema.json").read_text())
    jsonschema.validate(json.loads(store.encode(example)), schema)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(example, tmp_path, monkeypatch):
    folder = RunFolder.create("quick", tmp_path / "out")
    folder.finish(example, "old")
    before = (folder.path / "run.json").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch.os, "fsync", full)
    with pytest.raises(ArenaError, match="No space left"):
        folder.finish(run(cell("candle:cpu", around(1))), "new")
    assert (folder.path / "run.json").read_bytes() == before
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json", "run.md"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    ids = [RunFolder.create("suites/mine.toml").id for _ in range(3)]
    assert len(set(ids)) == 3
    assert all("-mine" in name for name in ids)


def test_an_output_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArenaError, match="cannot be made") as error:
        RunFolder.create("quick", tmp_path / "file")
    assert "--output" in error.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a run document"),
        (b"\xff\xfe", "not a run document"),
        (b"[]", "not a run document"),
        (b'{"schema":1}', "missing required field"),
        (b'{"schema":99}', "schema 99, this arena reads 1"),
        (b'{"schema":"1"}', "Expected `int`"),
        (b'{"schema":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a run document"),
    ],
)
def test_what_is_no_run_is_refused_with_the_reason(tmp_path, content, words):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ArenaError, match=words):
        store.load(path)


def test_a_value_of_the_wrong_type_is_named(example, tmp_path):
    document_ = json.loads(store.encode(example))
    document_["cells"][1]["turns"][0]["ns"] = ["fast"]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document_))
    with pytest.raises(ArenaError, match=r"cells\[1\]\.turns\[0\]\.ns"):
        store.load(path)


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(ArenaError, match="no such run"):
        store.load(tmp_path / "nothing")


@examples(100)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_run_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "run.json"
    path.write_bytes(content)
    with pytest.raises(ArenaError):
        store.load(path)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_runners_words_are_stored_as_they_are(words):
    kept = run(cell("candle:cpu", status="crashed", reason=words, log_tail=[words]))
    assert msgspec.json.decode(store.encode(kept), type=document.Run) == kept
