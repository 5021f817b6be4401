"""What a reader can do with the page, in a real browser."""

import csv as reader
import io
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from documents import everything, hostile, many, swept, taken_apart
from run_documents import around, cell, run

from arena_py.build.record import Place
from arena_py.contract.messages import Precision
from arena_py.report import csv, text
from arena_py.report.html.page import VIEWS
from arena_py.results.document import Interval, Status
from arena_py.results.store import encode

CHARTS = ("speed", "tradeoff", "phases", "training", "footprint")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_opens_says_nothing_and_fetches_nothing(opened, scheme):
    from axe_playwright_python.sync_playwright import Axe

    # axe adds its own script, which the page's policy would refuse.
    watched = opened(everything(), audits=[taken_apart()], color_scheme=scheme, bypass_csp=True)
    for view in VIEWS:
        page = watched.open(f"view={view}")
        assert page.locator("main > section:visible").count() == 1
        assert page.locator(f"#view-{view} h2").is_visible()
        if view in CHARTS:
            page.wait_for_selector(f"#view-{view} .chart[data-drawn] svg")
        for chart in page.locator(f"#view-{view} .chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for()
        found = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    watched.quiet()


def test_charts_are_drawn_under_the_pages_own_policy(opened):
    watched = opened(everything())
    page = watched.open("view=speed")
    page.wait_for_selector(".chart[data-drawn] svg")
    watched.quiet()
    page.evaluate(
        "() => document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran === undefined")


def test_a_click_opens_the_panel_with_reason_and_log_and_its_link_opens_it_again(opened):
    watched = opened(everything())
    page = watched.open()
    page.get_by_role("button", name="a:crashed on tiny/infer/b1").click()
    assert "Segmentation fault" in page.locator("#panel pre").first.inner_text()
    assert "died" in page.locator("#panel").inner_text()
    fragment = page.url.partition("#")[2]
    page = watched.open(fragment)
    assert page.locator("#panel h2").inner_text() == "a:crashed on tiny/infer/b1"
    page.keyboard.press("Escape")
    assert not page.locator("#panel").is_visible()
    watched.quiet()


def test_hostile_words_in_every_field_are_text_everywhere(opened):
    document, audited = everything(), taken_apart()
    later = msgspec.structs.replace(everything(), id="later", started="2026-02-01T00:00:00Z")
    for runs in ([hostile(document)], [document, later], [hostile(document), hostile(later)]):
        watched = opened(*runs, audits=[audited, hostile(audited)])
        for view in VIEWS:
            page = watched.open(f"view={view}")
            for chart in page.locator(f"#view-{view} .chart").all():
                chart.scroll_into_view_if_needed()
                chart.locator("svg").first.wait_for()
            assert page.locator("img, main script").count() == 0
            assert page.evaluate("document.title").startswith("Arena")
        page = watched.open("view=method")
        assert "<script>alert(1)</script>" in page.inner_text("#view-method")
        for position in range(len(document.cells)):
            page = watched.open(f"cell={position}")
            page.locator("#panel .rest h3").first.wait_for()
            assert page.locator("img").count() == 0
        watched.quiet()


def test_the_hostile_document_has_no_word_left_but_those_with_a_fixed_choice():
    def words(value):
        if isinstance(value, dict | list):
            return {word for each in (value.values() if isinstance(value, dict) else value) for word in words(each)}
        return {value} if isinstance(value, str) else set()

    found = words(msgspec.to_builtins(hostile(everything())))
    fixed = {*get_args(Status), *get_args(Place), *get_args(Precision)}
    assert {word for word in found if "<script>" not in word} == fixed & found
    assert len({word for word in found if "<script>" in word}) > 50


def test_the_footprint_has_a_map_of_what_audits_took_apart_and_names_the_rest(opened):
    watched = opened(everything(), audits=[taken_apart()])
    page = watched.open("view=footprint")
    view = page.locator("#view-footprint")
    assert view.locator("h3", has_text="candle:cpu: 5.72 MiB").count() == 1
    figure = view.locator("figure", has_text="candle:cpu: 5.72 MiB")
    figure.scroll_into_view_if_needed()
    figure.locator(".chart[data-drawn] svg").wait_for()
    assert "gemm" in figure.locator("svg").text_content()
    figure.locator("summary").click()
    assert ".rodata" in figure.locator("table").inner_text()
    assert "not the build that this run measured" in view.locator("figure", has_text="jax:cpu: 8.59 MiB").inner_text()
    assert "No stored audit knows: burn:flex," in view.inner_text()
    page = watched.open("view=footprint&language=rust&q=flex")
    assert "No stored audit knows what these are made of. python -m arena_py audit" in page.inner_text(
        "#view-footprint"
    )
    watched.quiet()


def test_filters_sort_and_search_do_what_they_say_and_links_restore_them(opened):
    watched = opened(everything())
    page = watched.open("view=table&sort=median:desc&language=rust")
    rows = page.locator("#view-table tbody tr th button").all_inner_texts()
    assert rows == ["burn:flex", "candle:cpu", "candle:cpu"]
    assert page.locator("#count").inner_text() == "3 of 12 cells"
    page.get_by_role("button", name="median").click()
    assert page.locator("#view-table tbody tr th button").all_inner_texts()[-1] == "burn:flex"
    page.locator("#search").fill("STEP")
    assert page.locator("#view-table tbody tr").count() == 1
    assert "q=STEP" in page.url
    page = watched.open(page.url.partition("#")[2])
    assert page.locator("#search").input_value() == "STEP"
    page.locator("#clear").click()
    assert page.locator("#view-table tbody tr").count() == 12


def test_the_matrix_has_ratios_to_the_chosen_baseline_and_ties(opened):
    watched = opened(everything())
    page = watched.open("base=burn:flex")
    cells = {name: page.get_by_role("button", name=f"{name} on tiny/infer/b1") for name in ("candle:cpu", "jax:cpu")}
    assert cells["candle:cpu"].inner_text().startswith("0.67")
    assert cells["jax:cpu"].inner_text().startswith("= 1.00")
    assert page.get_by_role("button", name="luminal:cpu on tiny/infer/b1").inner_text().strip().endswith("wrong")


def test_downloads_equal_the_document(opened):
    document = everything()
    page = opened(document).open("view=table")
    for name, content in (("JSON", encode(document)), ("CSV", csv.csv(document).encode())):
        with page.expect_download() as found:
            page.get_by_role("button", name=f"Download {name}").click()
        assert Path(found.value.path()).read_bytes() == content
    assert len(list(reader.DictReader(io.StringIO(csv.csv(document))))) == 12


def test_a_run_without_cells_says_so(opened):
    watched = opened(run())
    for view in VIEWS:
        watched.open(f"view={view}")
    page = watched.open()
    assert "no cells" in page.locator("#view-matrix").inner_text()
    watched.quiet()


def test_many_notes_wait_behind_a_line_that_opens(opened):
    few, many_notes = ([f"departure {number}" for number in range(count)] for count in (8, 9))
    page = opened(run(cell("candle:cpu", around(100), notes=few))).open("view=method")
    assert "departure 7" in page.inner_text("#view-method")
    page = opened(run(cell("candle:cpu", around(100), notes=many_notes))).open("view=method")
    assert "departure" not in page.inner_text("#view-method")
    page.locator("#view-method summary", has_text="All 9").click()
    page.locator("#view-method li", has_text="departure 8").wait_for()


def test_two_thousand_cells_are_there_and_the_table_has_pages(opened):
    watched = opened(many(), viewport={"width": 390, "height": 800})
    page = watched.open()
    assert page.locator("#view-matrix td button").count() == 2000
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page = watched.open("view=table&page=20")
    assert page.locator("#view-table tbody tr").count() == 100
    assert "page 20 of 20" in page.locator(".pages").inner_text()
    watched.quiet()


def test_two_runs_have_a_history_with_its_step(opened):
    before = run(cell("candle:cpu", around(100)))
    after = run(cell("candle:cpu", around(130)), id="second", started="2026-01-02T00:00:00Z")
    watched = opened(before, after)
    page = watched.open("view=history")
    page.wait_for_selector("#view-history .chart[data-drawn] svg")
    assert "candle:cpu in second: regression: 1.30 times" in page.locator("#view-history figcaption").inner_text()
    page.locator("#run").select_option(before.id)
    assert f"run={before.id}" in page.url
    watched.quiet()


def test_the_pages_numbers_are_those_of_every_report(opened):
    page = opened(run()).open()
    for value in (0, 1.234, 9.996, 12.5, 999.4, 12345, 3e-7, 0.000123, 0.0456, 1e12):
        assert page.evaluate("value => arena.words.number(value)", value) == text.number(value)
    for ns in (12, 12_345, 229_400_000, 31e9, 1e12):
        assert page.evaluate("ns => arena.words.duration(ns)", ns) == text.duration(ns)
    for size in (812, 5_000_000, 1_331_439_861):
        assert page.evaluate("size => arena.words.size(size)", size) == text.size(size)
    far = [85.7e6, 60e6, 2.5e21, 0.95]
    for bounds in ([229.4e6, 227e6, 231e6, 0.95], [3.05e9, 3e9, 3.1e9, 0.5], [1.234e6, 1.2e6, 1.3e6, 0.95], far):
        assert page.evaluate("bounds => arena.words.measured(bounds)", bounds) == text.measured(Interval(*bounds))


def test_a_sweep_has_a_chart_of_how_runners_grow_with_the_size_that_is_chosen(opened):
    watched = opened(swept())
    page = watched.open("view=scaling")
    view = page.locator("#view-scaling")
    assert view.locator("figure h3").all_inner_texts() == ["tiny/infer, sequence 128", "tiny/infer, sequence 1024"]
    view.get_by_label("Across").select_option("s")
    assert view.locator("figure h3").all_inner_texts() == ["tiny/infer, batch 1", "tiny/infer, batch 4"]
    view.locator(".chart[data-drawn] svg").first.wait_for()
    first = view.locator("figure").first
    assert "Not drawn: luminal:cpu on b1s1024 (wrong)" in first.inner_text()
    first.locator("summary").click()
    # The table is made when the browser tells that it was opened, which is a task after the click.
    row = first.locator("tbody tr", has_text="candle:cpu")
    row.wait_for()
    row = row.locator("td").all_inner_texts()
    assert (row[1][:4], row[2][:4], row[3]) == ("10.0", "80.0", "8.00 times")
    page = watched.open("view=scaling&across=s&metric=peak_rss_bytes")
    assert "peak memory" in page.locator("#view-scaling figure table, #view-scaling svg").first.text_content()
    assert "several shapes" in watched.open("view=scaling&task=train").inner_text("#view-scaling")
    watched.quiet()


def test_backend_and_precision_stand_beside_the_runner_where_they_vary(opened):
    page = opened(swept()).open()
    heads = page.locator("#view-matrix tbody th").all_inner_texts()
    assert {" ".join(head.split()) for head in heads} == {
        "candle:cpu cpu, f32",
        "burn:vulkan vulkan, f32",
        "pytorch:bf16 cuda, bf16",
        "luminal:cpu cpu, f32",
    }
    page = opened(swept()).open("view=table&q=bf16")
    assert {"cuda", "bf16"} <= set(page.locator("#view-table tbody tr").first.locator("td").all_inner_texts())
