"""What a reader can do with the page, in a real browser."""

import csv as reader
import io
from pathlib import Path

import msgspec
import pytest
from audit_documents import audit, entry, environment, executable
from run_documents import WRONG, around, cell, run

from arena_py.report import csv, text
from arena_py.report.html.page import VIEWS
from arena_py.results.document import Interval
from arena_py.results.store import encode

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u202e &amp; `x` | \"'"
CHARTS = ("speed", "tradeoff", "phases", "training", "footprint")


def everything():
    """Every status, one sample, none, a tie, a curve, hostile words."""
    curve = msgspec.structs.replace(
        cell("x:y", around(1)).verification, curve=[4.0, 2.1, None], reference_curve=[4.0, 2.0, 1.0]
    )
    return run(
        cell("candle:cpu", around(100), language="rust", backend="cpu"),
        cell("burn:flex", around(150), language="rust", backend="flex"),
        cell("jax:cpu", around(150.2, spread=0.05), language="python", backend="cpu"),
        cell("luminal:cpu", around(50), error=WRONG, log_tail=[HOSTILE]),
        cell("mlx:cpu", [3000]),
        cell("a:unsupported", status="unsupported", reason=HOSTILE),
        cell("a:unavailable", status="unavailable", reason="no device"),
        cell("a:crashed", status="crashed", reason="died", log_tail=["Segmentation fault"]),
        cell("a:timed", status="timed_out", reason="600 s"),
        cell("a:not", status="not_built", reason="no cargo"),
        cell(f"{HOSTILE.replace(':', '')}:v", around(120), notes=[HOSTILE]),
        cell("candle:cpu", around(10), case="tiny/step/b1", verification=curve, language="rust", backend="cpu"),
        warnings=[HOSTILE],
    )


def taken_apart():
    """An audit of some of its variants, hostile words in it."""
    candle = cell("candle:cpu", around(100))
    return audit(
        entry("candle:cpu", build=candle.build, executable=executable(code=(("gemm", 4_000_000), (HOSTILE, 90_000)))),
        entry(
            "jax:cpu", environment=environment((HOSTILE, "1.0", "framework", 9_000_000), ("none", "1", "models", None))
        ),
        entry("burn:flex"),
    )


def many():
    cells = [
        cell(f"f{number % 20}:v", around(100 + number % 7, 6), case=f"m{number // 200}/infer/b{number // 20}")
        for number in range(2000)
    ]
    one = run(*cells[:20])
    return msgspec.structs.replace(
        one,
        cells=[
            msgspec.structs.replace(each, summary=one.cells[number % 20].summary) for number, each in enumerate(cells)
        ],
    )


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


def test_hostile_words_are_text_everywhere(opened):
    document = everything()
    watched = opened(document)
    for view in VIEWS:
        page = watched.open(f"view={view}")
        assert page.locator("img").count() == 0
    page = watched.open("view=table&q=unsupported")
    assert "<script>alert(1)</script>" in page.locator("#view-table tbody").inner_text()
    watched.quiet()


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
    for bounds in ([229.4e6, 227e6, 231e6, 0.95], [3.05e9, 3e9, 3.1e9, 0.5], [1.234e6, 1.2e6, 1.3e6, 0.95]):
        assert page.evaluate("bounds => arena.words.measured(bounds)", bounds) == text.measured(Interval(*bounds))
