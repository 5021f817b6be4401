"""What is said while a measurement runs."""

import io

from rich.console import Console
from run_documents import around, cell

from arena_py.report.live import Lines, shown
from arena_py.results.summary import summarised


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def lines():
    stream, clock = io.StringIO(), Clock()
    return Lines(Console(file=stream, width=40), clock), stream, clock


def test_launches_have_their_line_and_rounds_one_now_and_then():
    progress, stream, clock = lines()
    progress.plan(1, 1)
    progress.phase("a:cpu", "launch 1 of 1: starting")
    for number in range(130):
        clock.now_s += 0.25
        progress.phase("a:cpu", f"launch 1 of 1: round {number}")
    told = stream.getvalue().splitlines()
    assert told[0] == "[0/1] a:cpu: launch 1 of 1: starting"
    assert len(told) == 4


def test_what_is_left_is_told_from_what_is_done():
    progress, stream, clock = lines()
    progress.plan(4, 2)
    clock.now_s = 10
    progress.launched("tiny/infer/b1 a:cpu", 0, 2)
    progress.launched("tiny/infer/b1 a:cpu", 1, 2)
    progress.launched("tiny/infer/b1 b:cpu", 0, 1)
    (done,) = summarised([cell("a:cpu", around(100))], seed=0)
    progress.done(done)
    told = stream.getvalue()
    assert told.startswith("[1/4, about 10 s left] tiny/infer/b1 a:cpu: passed 100")


def test_hostile_words_do_not_reach_the_terminal():
    progress, stream, _ = lines()
    progress.done(cell("a:cpu", status="crashed", reason="[red]\x1b[2J boo"))
    assert "\x1b" not in stream.getvalue()
    assert "[red]" in stream.getvalue()


def test_a_terminal_gets_a_bar():
    stream = io.StringIO()
    with shown(Console(file=stream, force_terminal=True, width=100)) as progress:
        progress.plan(2, 1)
        progress.phase("[b]case[/b] a:cpu", "launch 1 of 1: starting")
        progress.launched("a:cpu", 0, 1)
        progress.done(cell("a:cpu", status="crashed", reason="gone"))
    assert "tiny/infer/b1 a:cpu: crashed: gone" in stream.getvalue()
