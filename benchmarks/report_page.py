"""How large the report's page is and how soon it is painted, with 50, 500 and 2 000 cells.

    python benchmarks/report_page.py [--cells 50 500 2000] [--loads 7]

The runs are made up, as large as real ones: three launches, 30 rounds, 30 tensors a cell. Each load has a fresh context
of Chromium, from disk. What the browser says of each (medians over the loads):

- painted: first contentful paint, after the navigation started (`PerformancePaintTiming`)
- drawn: the script has drawn the first view (`domContentLoadedEventEnd`), the matrix with every cell
- moved: the largest share of the window that jumped (`layout-shift`), over all loads
- table, speed: from a click on the view to the frame after its drawing
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "results"))

from run_documents import around, cell, run  # noqa: E402 (of the tests)

from arena_py.report.html.page import page  # noqa: E402 (as above)
from arena_py.results.document import Run, TensorError  # noqa: E402 (as above)
from arena_py.results.store import encode  # noqa: E402 (as above)

RUNNERS = 20
TENSORS = [TensorError(name=f"layers.{number}.weight", error=1e-7 * number, limit=1e-5) for number in range(30)]
SHIFTS = """
window.moved = 0;
const add = (list) => list.getEntries().forEach((each) => { window.moved += each.value; });
new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
SWITCH = """async (view) => {
  const before = performance.now();
  document.querySelector(`[data-view=${view}]`).click();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - before;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[50, 500, 2000])
    parser.add_argument("--loads", type=int, default=7)
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: chromium is not installed\nhint: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        print(f"Chromium {browser.version}, medians of {options.loads} loads")
        for count in options.cells:
            document = made(count)
            started_ns = time.perf_counter_ns()
            words = page([document])
            took_s = (time.perf_counter_ns() - started_ns) / 1e9
            path = Path(folder) / f"{count}.html"
            path.write_text(words, "utf-8")
            loads = [load(browser, path) for _ in range(options.loads)]
            told = ", ".join(
                f"{name} {statistics.median(each[name] for each in loads):.0f} ms"
                for name in ("painted", "drawn", "table", "speed")
            )
            sizes = f"{path.stat().st_size / 1e6:.2f} MB of a document of {len(encode(document)) / 1e6:.2f} MB"
            moved = max(each["moved"] for each in loads)
            print(f"{count} cells: {sizes}, made in {took_s:.1f} s; {told}; moved {moved:.3f}", flush=True)
        browser.close()


def made(count: int) -> Run:
    """A run of so many cells, 20 runners a case, no two samples alike; the first case's summaries serve all."""
    cells = []
    for number in range(count):
        samples = [each + number * 1e-3 + index * 7e-3 for index, each in enumerate(around(20 + number % RUNNERS, 90))]
        case = f"model-{number // 200}/infer/b{number // RUNNERS % 10 + 1}"
        fresh = cell(f"framework-{number % RUNNERS}:cpu", samples, case=case, language="rust", backend="cpu")
        assert fresh.verification
        cells.append(replace(fresh, verification=replace(fresh.verification, tensors=TENSORS)))
    first = run(*cells[:RUNNERS])
    summaries = [each.summary for each in first.cells]
    return replace(
        run(),
        cells=[replace(each, summary=summaries[number % RUNNERS]) for number, each in enumerate(cells)],
    )


def load(browser: Browser, path: Path) -> dict[str, Any]:
    """Milliseconds of one load."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    view.add_init_script(SHIFTS)
    view.goto(path.as_uri())
    view.wait_for_selector("#view-matrix td button")
    found = {"painted": view.evaluate(PAINTED), "drawn": view.evaluate(DRAWN)}
    found["moved"] = view.evaluate("window.moved")
    for name in ("table", "speed"):
        found[name] = view.evaluate(SWITCH, name)
    context.close()
    return found


if __name__ == "__main__":
    main()
