"""The pictures of README from a stored run: what `compare` prints as SVG, the report's matrix as PNG, light and dark.

    python benchmarks/pictures.py RUN [-o docs/pictures] [--model NAME] [--case CASE ...] [--width 1200] [--height 800]

RUN is the name of a folder under artifacts/results, a path, or `latest`. `--model` and `--case` choose what is in the
picture of the table; the matrix has the whole run. The screenshots need Chromium (apt-get install chromium) and
playwright (pip install '.[test]').
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from msgspec.structs import replace
from playwright.sync_api import sync_playwright
from rich.console import Console

from arena_py.errors import ArenaError
from arena_py.report.html.page import page
from arena_py.report.terminal import show
from arena_py.results import store
from arena_py.results.document import Run

COLUMNS = 80
SCALE = 2
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Rich's picture asks a server for its font; without it the reader's own monospace font is taken."""
NAMES = ("compare.svg", "matrix-light.png", "matrix-dark.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--model", help="only this model in the table")
    parser.add_argument(
        "--case", action="append", help="only this case in the table, MODEL/TASK/SHAPE; may be repeated"
    )
    parser.add_argument("--width", type=int, default=1200, help="of the browser's window")
    parser.add_argument("--height", type=int, default=800)
    options = parser.parse_args()
    run = store.named(options.run)
    options.output.mkdir(parents=True, exist_ok=True)
    svg = table(chosen(run, options.model, options.case))
    store.write(options.output / "compare.svg", svg.encode())
    for scheme, picture in matrix(run, options.width, options.height).items():
        store.write(options.output / f"matrix-{scheme}.png", picture)
    for name in NAMES:
        path = options.output / name
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def chosen(run: Run, model: str | None, cases: list[str] | None) -> Run:
    """The run with only these cells, and without what speaks of the whole: its time and its warnings."""
    if model is None and not cases:
        return run
    cells = [cell for cell in run.cells if model in (None, cell.model) and (not cases or cell.case in cases)]
    if not cells:
        known = ", ".join(dict.fromkeys(cell.case for cell in run.cells))
        raise ArenaError("no such case in the run", hint=f"it has {known}")
    return replace(run, cells=cells, breakdown=None, warnings=[])


def table(run: Run) -> str:
    """What `compare` prints of a run on a terminal of 80 columns, as SVG that asks no server for anything."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=io.StringIO())
    show(run, console)
    return FONT.sub("", console.export_svg(title="python -m arena_py compare"))


def matrix(run: Run, width: int, height: int) -> dict[str, bytes]:
    """The first view of the report in a browser's window, by colour scheme."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise ArenaError("chromium is not installed", hint="apt-get install chromium")
    found = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_text(page([run]), "utf-8")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height}, device_scale_factor=SCALE, color_scheme=scheme
            )
            view = context.new_page()
            view.goto(path.as_uri())
            view.wait_for_selector("#view-matrix table")
            bottom = view.evaluate(
                "Math.ceil(document.querySelector('#view-matrix .matrix').getBoundingClientRect().bottom)"
            )
            clip = {"x": 0, "y": 0, "width": width, "height": min(height, bottom + 16)}
            found[scheme] = view.screenshot(clip=clip)
            context.close()
        browser.close()
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ArenaError as error:
        sys.exit(f"error: {error.advised}")
