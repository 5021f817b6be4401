"""`report`: pages and Markdown from stored runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

    from arena_py.footprint.document import Audit
    from arena_py.results.document import Run

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]


def report(
    *run: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    open: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002 (the option's name)
    site: Path | None = None,
    audit: Several = None,
    format: Literal["html", "md"] = "html",  # noqa: A002 (the option's name)
) -> int:
    """Make a page of runs, a folder of pages, or Markdown for a pull request.

    A run is the name of a folder under artifacts/results, a path, or `latest`, which is taken when none is named;
    `--site` takes all stored runs then. The page is one file that needs nothing else: no network, no server.

    Args:
        run: The runs, in any order.
        output: The file; report.html here, standard output for Markdown, when absent.
        open: Whether to open the page in the browser.
        site: Write a folder of static pages instead: an index, a page a run, a page a model.
        audit: Audits that say what the runners are made of, each a folder under artifacts/results or a path; all that
            are stored when absent.
        format: A page, or Markdown short enough for a comment.
    """
    from arena_py.cli.tables import console

    if site is not None and (output is not None or format != "html"):
        raise ArenaError("--site writes a folder of pages", hint="leave --output and --format away")
    if format == "md" and open:
        raise ArenaError("--open shows a page", hint="leave --format md away")
    if format == "md" and audit:
        raise ArenaError("--audit is for pages", hint="leave --format md away")
    meanwhile = console(stderr=True)
    runs = _runs(run, every=site is not None)
    if format == "md":
        return _markdown(runs, output)
    audits = _audits(audit or [], meanwhile)
    if site is not None:
        from arena_py.report.html.site import write

        path = write(runs, site, audits)
    else:
        from arena_py.report.html.page import page
        from arena_py.results import store

        path = output or Path("report.html")
        if path.is_dir():
            raise ArenaError(f"{path} is a folder", hint="name a file with --output, or make pages with --site")
        store.write(path, page(runs, audits=audits).encode())
    meanwhile.print(f"{path}: {len(runs)} run{'s' if len(runs) > 1 else ''}", markup=False, soft_wrap=True)
    if open:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
    return 0


def _runs(names: tuple[str, ...], *, every: bool) -> list[Run]:
    from arena_py.results import store

    if names or not every:
        return [store.named(name) for name in names or ("latest",)]
    found = [store.load(path) for path in sorted(store.results().glob(f"*/{store.RUN}"))]
    if not found:
        raise ArenaError("no run is stored", hint="python -m arena_py compare makes one")
    return found


def _audits(names: list[str], meanwhile: Console) -> list[Audit]:
    """The named audits; without names all that are stored, those of another version left out and told."""
    from arena_py.results import audits

    if names:
        return [audits.named(name) for name in names]
    found = []
    for path in audits.stored():
        try:
            found.append(audits.load(path))
        except ArenaError as error:
            meanwhile.print(f"left out: {error.message}", markup=False, soft_wrap=True)
    return found


def _markdown(runs: list[Run], output: Path | None) -> int:
    from arena_py.report.comment import comment
    from arena_py.results import store

    words = comment(runs)
    if output is None:
        sys.stdout.write(words)
    else:
        store.write(output, words.encode())
    return 0
