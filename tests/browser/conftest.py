"""A browser, and pages of synthetic runs."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "results"))

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking"]


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """An opened page, with what it said and asked for."""

    def __init__(self, context, path):
        self.page, self.path, self.said, self.fetched = context.new_page(), path, [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append("dialog") or dialog.dismiss())
        self.page.on("request", lambda request: self.fetched.append(request.url))

    def open(self, fragment=""):
        self.page.goto("about:blank")
        self.page.goto(f"file://{self.path}#{fragment}")
        return self.page

    def quiet(self):
        own = [url for url in self.fetched if not url.startswith((f"file://{self.path}", "about:", "blob:"))]
        assert (self.said, own) == ([], [])


@pytest.fixture
def opened(browser, tmp_path):
    from arena_py.report.html.page import page

    contexts = []

    def write(*runs, audits=(), **options):
        path = tmp_path / "report.html"
        path.write_text(page(runs, audits=audits), "utf-8")
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        return Watched(context, path)

    yield write
    for context in contexts:
        context.close()
