"""Consoles and tables of the commands: rich on a terminal, plain text elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(*, stderr: bool = False) -> Console:
    """The console of a command's results, or of what it says meanwhile."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def table(console: Console, title: str, *columns: str) -> Table:
    """An empty table that suits the console: no frame where there is no terminal."""
    from rich import box
    from rich.table import Table

    style = box.SIMPLE_HEAD if console.is_terminal else None
    made = Table(title=title, title_justify="left", title_style="bold", box=style, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
