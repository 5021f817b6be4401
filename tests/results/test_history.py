"""All stored runs as one table: what is new is read, what is gone is forgotten, nothing stale is believed."""

from __future__ import annotations

import csv
import os
import sqlite3

import duckdb
import pytest
from msgspec.structs import replace
from run_documents import WRONG, around, cell, run

from arena_py.cli.app import main
from arena_py.results import history, store
from arena_py.results.export import export


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))


def keep(name, *cells, started="2026-01-01T00:00:00Z"):
    folder = store.results() / name
    folder.mkdir(parents=True, exist_ok=True)
    store.write(folder / store.RUN, store.encode(replace(run(*cells), id=name, started=started)))
    return folder / store.RUN


def three():
    keep("a", cell("candle:cpu", around(100)), cell("burn:flex", around(140)), started="2026-01-01T00:00:00Z")
    keep("b", cell("candle:cpu", around(105)), started="2026-01-02T00:00:00Z")
    keep("c", cell("candle:cpu", around(50), error=WRONG), started="2026-01-03T00:00:00Z")


def read(case="tiny/infer", **options):
    told = []
    with history.opened(told.append) as connection:
        rows = history.history(connection, case, **options)
    return rows, told


def test_cells_come_in_their_order_with_the_ratio_to_the_one_before():
    three()
    rows, _ = read(labels=["candle"])
    assert [(row["run"], row["status"]) for row in rows] == [("a", "passed"), ("b", "passed"), ("c", "wrong")]
    assert [row["ratio"] for row in rows][:2] == [None, pytest.approx(1.05, abs=0.001)]


def test_a_case_is_a_model_a_task_of_it_or_a_shape():
    three()
    keep("d", cell("candle:cpu", around(9), case="tiny/train/b1"), cell("candle:cpu", around(9), case="other/infer/b1"))
    assert len(read("tiny")[0]) == 5
    assert len(read("tiny/infer")[0]) == 4
    assert len(read("tiny/infer/b1")[0]) == 4
    assert read("tiny/infer/b2")[0] == []
    assert [row["run"] for row in read("tiny", last=1, labels=["candle:cpu"])[0]] == ["c"]


def test_what_was_read_is_not_read_again():
    three()
    assert read()[1] == [3]
    assert read()[1] == []
    keep("d", cell("candle:cpu", around(90)))
    assert read()[1] == [1]


def test_a_document_that_changed_is_read_again_and_one_that_is_gone_is_forgotten():
    three()
    read()
    path = keep("a", cell("candle:cpu", around(200)))
    os.utime(path, ns=(1, 1))  # even into the past
    (store.results() / "b" / store.RUN).unlink()
    rows, told = read(labels=["candle"])
    assert told == [1]
    assert [(row["run"], round(row["median_ns"] / 1e6)) for row in rows] == [("a", 200), ("c", 50)]


def test_a_broken_index_is_made_anew():
    three()
    before, _ = read()
    (store.results() / history.INDEX).write_bytes(b"PAR1 no more")
    rows, told = read()
    assert rows == before
    assert told == [3]


def test_an_index_of_other_columns_is_not_believed():
    three()
    read()
    index = store.results() / history.INDEX
    index.rename(store.results() / "index-00000000.parquet")
    assert read()[1] == [3]
    assert [path.name for path in store.results().glob("index-*.parquet")] == [history.INDEX]


def test_what_cannot_be_read_is_left_out_and_told_once_it_is_asked(capsys):
    three()
    (store.results() / "a" / store.RUN).write_text("{")
    rows, _ = read()
    assert "a" not in {row["run"] for row in rows}
    assert read()[1] == []
    assert main(["history", "tiny"]) == 0
    assert "left out: a: " in capsys.readouterr().err


def test_another_machine_is_not_what_one_is_compared_with():
    three()
    folder = store.results() / "x"
    folder.mkdir()
    other = run(cell("candle:cpu", around(10)))
    other = replace(other, id="x", started="2026-01-01T12:00:00Z", machine=replace(other.machine, cpu="Another"))
    store.write(folder / store.RUN, store.encode(other))
    ratios = {row["run"]: row["ratio"] for row in read(labels=["candle"])[0]}
    assert ratios["x"] is None
    assert ratios["b"] == pytest.approx(1.05, abs=0.001)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["history", "nothing"], 2, "no stored run has nothing"),
        (["history", "a/b/c/d"], 2, "not a case"),
        (["history", "tiny//"], 2, "not a case"),
        (["history", "tiny", "--last", "0"], 2, "less than 1"),
        (["export", "--to", "parquet", "--output", "."], 2, "is a folder"),
    ],
)
def test_mistakes_are_told(words, code, told, capsys):
    three()
    assert main(words) == code
    assert told in capsys.readouterr().err


def test_no_run_at_all_is_told_with_what_to_do(capsys):
    assert main(["history", "tiny"]) == 2
    assert "compare makes the first run" in capsys.readouterr().err


def test_the_table_and_the_other_formats(capsys):
    three()
    main(["history", "tiny/infer", "--framework", "candle"])
    out = capsys.readouterr().out
    assert "1.050" in out
    assert "candle:cpu" in out
    assert "burn" not in out
    main(["history", "tiny/infer", "--format", "csv"])
    assert [row["run"] for row in csv.DictReader(capsys.readouterr().out.splitlines())] == ["a", "a", "b", "c"]


def test_an_export_holds_every_cell(tmp_path):
    three()
    with history.opened() as connection:
        files = {to: tmp_path / "out" / f"cells.{to}" for to in ("parquet", "csv", "sqlite")}
        assert {export(connection, to, path) for to, path in files.items()} == {4}
    expected = [("a", "burn"), ("a", "candle"), ("b", "candle"), ("c", "candle")]
    parquet = duckdb.execute("SELECT run, framework FROM read_parquet(?) ORDER BY 1, 2", [str(files["parquet"])])
    assert parquet.fetchall() == expected
    with files["csv"].open() as file:
        assert sorted((row["run"], row["framework"]) for row in csv.DictReader(file)) == expected
    database = sqlite3.connect(files["sqlite"])
    assert database.execute("SELECT run, framework FROM cells ORDER BY 1, 2").fetchall() == expected
    assert database.execute("SELECT typeof(median_ns) FROM cells").fetchone() == ("real",)
    database.close()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cells.csv", "cells.parquet", "cells.sqlite"]


def test_export_says_where_it_is(tmp_path, capsys):
    three()
    assert main(["export", "--to", "csv", "--output", str(tmp_path / "mine.csv")]) == 0
    assert "4 cells in" in capsys.readouterr().err
    assert (tmp_path / "mine.csv").is_file()
