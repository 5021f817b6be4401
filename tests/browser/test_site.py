"""The pages of a site, from a web server: every link leads somewhere, nothing else is asked for."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from documents import everything, hostile, swept, taken_apart

from arena_py.report.html import site


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


@pytest.fixture
def served(tmp_path):
    """The address of a site of some runs."""
    hard = msgspec.structs.replace(hostile(everything()), started="2026-03-01T00:00:00Z")
    site.write([everything(), swept(), hard], tmp_path / "site", [taken_apart()])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "site"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_every_page_of_a_site_opens_says_nothing_and_asks_for_its_own_files_alone(browser, served):
    context = browser.new_context()
    page = context.new_page()
    said, asked, failed = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append("dialog") or dialog.dismiss())
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.goto(f"{served}index.html")
    links = page.eval_on_selector_all("main a", "links => links.map(link => link.href)")
    assert len(links) == 3 + len({"tiny", "hostile"})
    for link in links:
        page.goto(link)
        assert page.locator("#view-matrix td button").count() > 0
        page.locator("[data-view=speed]").click()
        page.locator("#view-speed .chart[data-drawn] svg").first.wait_for()
        assert page.locator("img").count() == 0
        page.locator("h1 a").click()
        assert page.url == f"{served}index.html"
    context.close()
    own = [url for url in asked if not url.startswith((served, "blob:"))]
    # A browser asks for an icon by itself.
    assert ([url for url in failed if not url.endswith("/favicon.ico")], own, said) == ([], [], [])


def test_a_pages_views_are_told_apart_by_their_address_on_a_server_too(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served}models/tiny.html#view=table&q=wrong")
    assert page.locator("#view-table tbody tr").count() >= 1
    page.go_back()
    page.go_forward()
    assert page.locator("#search").input_value() == "wrong"
    context.close()
