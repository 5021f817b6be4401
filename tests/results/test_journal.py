"""The journal of a run: what is in it is whole, and the rest is known to be missing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from run_documents import around, cell, run

from arena_py.errors import ArenaError
from arena_py.results import begun, store
from arena_py.results.journal import JOURNAL, Measured, Resumed, Spent
from arena_py.results.store import RunFolder

BEGUN = begun.Begun(
    schema=begun.SCHEMA,
    started="2026-01-01T00:00:00Z",
    command=["arena", "compare"],
    request=None,
    facts={"threads": 2},
    machine=run().machine,
    noise_floor={},
    absent={},
    roofline=None,
    flops={},
    problems=[],
    preparation_ns=1,
)


def measured(case: str) -> Measured:
    return Measured(
        case=case,
        prepared=None,
        cells=[cell("candle:cpu", around(100), case=case), cell("burn:flex", status="unsupported", case=case)],
        observations=[],
        spent=Spent(wall_ns=4, verify_ns=3, run_ns=2, driver_cpu_ns=1),
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create("quick", tmp_path / "out")
    made.begin(BEGUN)
    return made


def test_what_was_finished_outlives_an_interruption(folder: RunFolder) -> None:
    folder.append(measured("tiny/infer/b1"))
    folder.append(Resumed(at="2026-01-01T00:01:00Z", preparation_ns=5))
    folder.append(measured("tiny/train/b1"))
    found = folder.journal()
    assert found.begun == BEGUN
    assert found.measured == {name: measured(name) for name in ("tiny/infer/b1", "tiny/train/b1")}
    assert [each.preparation_ns for each in found.resumed] == [5]


def test_it_goes_when_the_document_is_whole_and_stays_until_then(folder: RunFolder) -> None:
    folder.finish(run(finished=None), "")
    assert (folder.path / JOURNAL).exists()
    folder.finish(run(), "")
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json", "run.md"]


@given(st.data())
@examples(60)
def test_cut_off_anywhere_it_has_what_was_whole_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = RunFolder.create("quick", tmp_path_factory.mktemp("run"))
    folder.begin(BEGUN)
    first = (folder.path / JOURNAL).stat().st_size
    names = ["tiny/infer/b1", "tiny/train/b1", "tiny/step/b1"]
    ends = []
    for name in names:
        folder.append(measured(name))
        ends.append((folder.path / JOURNAL).stat().st_size)
    content = (folder.path / JOURNAL).read_bytes()
    cut = data.draw(st.integers(first, len(content)))
    (folder.path / JOURNAL).write_bytes(content[:cut])
    whole = [name for name, end in zip(names, ends, strict=True) if end <= cut]
    assert list(folder.journal().measured) == whole
    for name in names[len(whole) :]:
        folder.append(measured(name))
    assert folder.journal().measured == {name: measured(name) for name in names}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "schema None"),
        (b'{"schema":99}\n', "schema 99, this arena reads 1"),
        (b"\xff\n", "not the journal of a run"),
        (b"{}\n", "not the journal of a run"),
        (b'{"type":"resumed","at":"x","preparation_ns":1,"schema":1}\n', "it begins twice, or not at all"),
    ],
)
def test_what_is_no_journal_is_refused_with_the_reason(folder: RunFolder, content: bytes, words: str) -> None:
    (folder.path / JOURNAL).write_bytes(content)
    with pytest.raises(ArenaError, match=words):
        folder.journal()


@examples(100)
@given(
    st.one_of(
        st.binary(max_size=200), st.binary(max_size=60).map(lambda more: msgspec.json.encode(BEGUN) + b"\n" + more)
    )
)
def test_any_bytes_are_a_journal_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = RunFolder.create("quick", tmp_path_factory.mktemp("run"))
    (folder.path / JOURNAL).write_bytes(content)
    try:
        assert folder.journal().begun == BEGUN
    except ArenaError as error:
        assert JOURNAL in error.message


def test_a_damaged_line_in_the_middle_is_refused(folder: RunFolder) -> None:
    folder.append(measured("tiny/infer/b1"))
    path = folder.path / JOURNAL
    path.write_bytes(path.read_bytes()[:-20] + b"\n" + msgspec.json.encode(measured("tiny/train/b1")) + b"\n")
    with pytest.raises(ArenaError, match="not the journal of a run"):
        folder.journal()


def test_a_new_run_in_the_same_folder_begins_anew(folder: RunFolder) -> None:
    folder.append(measured("tiny/infer/b1"))
    again = RunFolder.create("quick", folder.path)
    again.begin(BEGUN)
    assert again.journal().measured == {}


def test_one_process_measures_into_a_folder(folder: RunFolder) -> None:
    with folder.held(), pytest.raises(ArenaError, match="is locked by process"), folder.held():
        pass
    with folder.held():
        pass
    assert not (folder.path / store.LOCK).exists()


def test_differences_are_named() -> None:
    then = {"threads": 2, "rounds": None, "the weights of x": "a" * 64}
    assert begun.differences(then, dict(then)) == []
    assert begun.differences(then, {"threads": 2, "the weights of y": "1" * 64}) == []
    assert begun.differences(then, {"threads": 4, "rounds": 2, "the weights of x": "b" * 64}) == [
        "threads was 2, is 4",
        "rounds was none, is 2",
        "the weights of x was aaaaaaaaaaaa…, is bbbbbbbbbbbb…",
    ]


def test_many_differences_are_counted() -> None:
    assert begun.told([f"d{number}" for number in range(6)]) == "d0; d1; d2; d3; and 2 more"
