"""What a reader finds in each output, whatever the runners wrote."""

import csv as reader
import io
import json as json_reader
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from run_documents import WRONG, around, cell, run

from arena_py.report import text
from arena_py.report.columns import COLUMNS
from arena_py.report.csv import csv
from arena_py.report.json import json
from arena_py.report.markdown import markdown
from arena_py.report.terminal import fitting, show
from arena_py.report.verdict import winners
from arena_py.results.document import Interval, TensorError

HOSTILE = "[bold red]boo[/] \x1b[31m\x07 | pipe <script>alert(1)</script> `code` \u202eright to left\nnext line"


def shown(result, width=80, **options):
    stream = io.StringIO()
    show(result, Console(file=stream, width=width, **options))
    return stream.getvalue()


@pytest.fixture
def result():
    return run(
        cell("candle:cpu", around(100)),
        cell("burn:flex", around(150)),
        cell("luminal:cpu", around(50), error=WRONG),
        cell("meganeura:vulkan", status="unavailable", reason="load: device_unavailable: no Vulkan device"),
        cell("pytorch:eager", status="crashed", reason="run: died of SIGSEGV", log_tail=["Segmentation fault"]),
    )


def test_ranked_rows_come_first_and_everything_asked_for_is_there(result):
    lines = shown(result).splitlines()
    position = [
        next(number for number, line in enumerate(lines) if name in line)
        for name in ("candle:cpu", "burn:flex", "luminal:cpu", "meganeura:vulkan", "pytorch:eager")
    ]
    assert position == sorted(position)
    assert lines[position[0]].split()[0] == "1"
    assert lines[position[1]].split()[0] == "2"


def test_a_note_of_many_cells_is_told_once(result):
    shared = ["its clock stood still"]
    cells = [msgspec.structs.replace(each, notes=shared) for each in result.cells[:3]]
    alone = msgspec.structs.replace(result.cells[3], notes=["alone"])
    noted = msgspec.structs.replace(result, cells=[*cells, alone, result.cells[4]])
    for output in (shown(noted, 200), markdown(noted)):
        assert output.count("its clock stood still") == 1
        assert "3 cells of candle:cpu, burn:flex, luminal:cpu: its clock stood still" in output
        assert "meganeura:vulkan: alone" in output


def test_what_did_not_pass_shows_status_reason_and_numbers_but_no_rank(result):
    output = shown(result, 200)
    (line,) = [line for line in output.splitlines() if line.strip().startswith("luminal:cpu")]
    assert line.strip().startswith("luminal:cpu: wrong: logits: error 2.00e-02 is over the limit")
    assert "not ranked: 50.0" in line
    assert "crashed: run: died of SIGSEGV" in output
    assert "| Segmentation fault" in output
    assert "unavailable: load: device_unavailable: no Vulkan device" in output


def test_curves_stand_beside_the_reference(result):
    curves = {"candle:cpu": (100, [4.0, 2.00002]), "burn:flex": (200, [4.0, None])}
    cells = [
        cell(
            label,
            around(median),
            case="tiny/step/b1",
            verification=msgspec.structs.replace(
                cell(label, around(1)).verification, curve=curve, reference_curve=[4.0, 2.0]
            ),
        )
        for label, (median, curve) in curves.items()
    ]
    told = [[word.strip() for word in line.strip("|").split("|")] for line in markdown(run(*cells)).splitlines()]
    assert ["step", "reference loss", "candle:cpu", "burn:flex"] in told
    assert ["1", "4.000000", "+0.0e+00", "+0.0e+00"] in told
    assert ["2", "2.000000", "+1.0e-05", "not finite"] in told
    assert "reference loss" not in markdown(result)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(result, width):
    assert max(map(len, shown(result, width).splitlines())) <= width


def test_narrow_terminals_lose_the_least_important_columns_and_say_so(result):
    narrow, wide = shown(result, 80), shown(result, 250)
    assert "start-up" in wide
    head = next(line for line in narrow.splitlines() if "runner" in line and "median" in line)
    assert "start-up" not in head
    assert "x best" in head
    assert "run.md has more columns" in narrow
    assert "run.md has more columns" not in wide


def test_the_last_columns_to_go_are_rank_runner_and_median():
    widths = [10] * len(COLUMNS)
    kept = [COLUMNS[index].title for index in fitting(list(COLUMNS), widths, 36)]
    assert kept == ["#", "runner", "median"]


def test_plain_without_a_terminal_and_without_colour(result, monkeypatch):
    assert "\x1b" not in shown(result)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(result, force_terminal=True)


def test_a_tie_is_called_a_tie():
    noisy = [100 + (number * 7) % 20 for number in range(30)]
    also = [100.1 + (number * 11) % 20 for number in range(30)]
    tied = run(cell("a:cpu", noisy), cell("b:cpu", also), cell("c:cpu", around(300)))
    output = shown(tied, 120)
    assert "tie" in output
    (line,) = winners(tied)
    assert line.startswith(("tiny/infer/b1: a:cpu and b:cpu tie, ", "tiny/infer/b1: b:cpu and a:cpu tie, "))
    assert line.endswith("ahead of c:cpu")


def test_the_winner_has_a_margin(result):
    (line,) = winners(result)
    assert line.startswith("tiny/infer/b1: candle:cpu is fastest, 1.50 x [")
    assert line.endswith("] ahead of burn:flex")


def test_a_margin_of_few_samples_says_how_sure_it_is():
    (line,) = winners(run(cell("a:cpu", around(100)), cell("b:cpu", [3000, 3100])))
    assert "few samples] ahead of b:cpu" in line


def test_each_precision_has_a_winner_of_its_own():
    several = run(
        cell("a:cuda", around(100)),
        cell("b:cuda", around(150)),
        cell("a:cuda-tf32", around(50), precision="tf32"),
    )
    (line,) = winners(several)
    assert line.startswith("tiny/infer/b1: a:cuda is fastest, 1.50 x [")
    assert line.endswith("] ahead of b:cuda; in tf32 a:cuda-tf32 passed")


def test_nobody_and_nobody_else():
    assert winners(run(cell("a:cpu", around(1), error=WRONG))) == ["tiny/infer/b1: nothing passed"]
    assert winners(run(cell("a:cpu", around(1)))) == ["tiny/infer/b1: a:cpu passed"]
    alone = run(cell("a:cpu", around(1)), cell("b:cpu", around(1), error=WRONG))
    assert winners(alone) == ["tiny/infer/b1: a:cpu is the only one that passed"]


def test_a_range_is_not_shown_as_an_interval():
    few = run(cell("a:cpu", [3000, 3100]))
    assert "3.05 ~ 0.05 s" in shown(few)
    assert "too few samples" in shown(few)
    assert "3.05 ~ 0.05 s" not in shown(run(cell("a:cpu", around(3050))))


def test_notes_and_warnings_are_shown():
    noted = run(cell("a:cpu", around(1), notes=["1 of 3 launches: one takes 31 s"]), warnings=["the machine was busy"])
    for output in (shown(noted, 120), markdown(noted)):
        assert "1 of 3 launches: one takes 31 s" in output
        assert "the machine was busy" in output


def test_a_tensor_that_is_not_finite_says_so():
    broken = TensorError(name="logits", error=None, limit=1e-6, nonfinite=4)
    assert text.error_of(cell("a:cpu", around(1), error=broken)) == "not finite / 1.0e-06"


def test_hostile_words_are_text_on_the_terminal():
    output = shown(run(cell("a:cpu", status="crashed", reason=HOSTILE, log_tail=[HOSTILE], notes=[HOSTILE])), 300)
    assert "[bold red]boo[/]" in output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    assert "next line" in output


def test_hostile_words_stay_in_their_cell_of_a_markdown_table():
    page = markdown(run(cell("a:cpu", status="crashed", reason=HOSTILE)))
    (row,) = [line for line in page.splitlines() if "boo" in line and line.startswith("|")]
    assert row.replace("\\|", "").count("|") == 6
    assert "<script>" not in page
    assert "\x1b" not in page


def test_markdown_has_every_column_and_where_the_numbers_come_from(result):
    page = markdown(result)
    for column in ("median", "x best", "start-up", "peak memory", "error / limit"):
        assert f" {column} " in page
    assert "luminal:cpu" in page
    assert "im2col" in page
    assert "dddddddddddddddd" in page
    assert "A CPU, 2 cores" in page


def test_csv_has_a_row_for_every_cell(result):
    rows = list(reader.DictReader(io.StringIO(csv(result))))
    assert [row["framework"] for row in rows] == ["candle", "burn", "luminal", "meganeura", "pytorch"]
    assert [row["rank"] for row in rows] == ["1", "2", "", "", ""]
    assert float(rows[0]["median_ns"]) == pytest.approx(1e8)
    assert rows[4]["status"] == "crashed"


def test_csv_quotes_hostile_words():
    (row,) = reader.DictReader(io.StringIO(csv(run(cell("a:cpu", status="crashed", reason='a,"b"\nc')))))
    assert row["reason"] == 'a,"b"\nc'


def test_json_is_the_document(result):
    assert json_reader.loads(json(result))["cells"][0]["framework"] == "candle"


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_words_are_one_line_without_control_characters(words):
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text.plain(words))
    assert len(text.plain(words).splitlines()) <= 1


@pytest.mark.parametrize(
    ("ns", "words"),
    [(229_400_000, "229 ms"), (12_345, "12.3 µs"), (999, "999 ns"), (31_000_000_000, "31.0 s"), (1e12, "1 000 s")],
)
def test_durations(ns, words):
    assert text.duration(ns) == words


def test_measured_has_the_decimals_of_its_value():
    assert text.measured(Interval(229.4e6, 227.0e6, 231.0e6)) == "229 ± 2 ms"
    assert text.measured(Interval(1.234e6, 1.2e6, 1.3e6)) == "1.23 ± 0.05 ms"
    assert text.measured(Interval(229.4e6, 229.2e6, 229.6e6)) == "229.4 ± 0.2 ms"
    assert text.measured(Interval(5e6, 5e6, 5e6)) == "5.00 ± 0.00 ms"
    assert text.measured(Interval(85.7e6, 60e6, 2.5e21)) == "85.7 ± >10x ms"


@pytest.mark.parametrize(("count", "words"), [(812, "812 B"), (5_000_000, "4.77 MiB"), (1_331_439_861, "1.24 GiB")])
def test_sizes(count, words):
    assert text.size(count) == words


@settings(deadline=None)
@given(st.floats(1e-9, 1e15))
def test_numbers_are_close_to_what_they_show(value):
    assert float(text.number(value).replace(" ", "")) == pytest.approx(value, rel=0.006)
