"""What is said while a measurement runs."""

import io
import re

from rich.console import Console
from run_documents import around, cell

from arena_py.report.fastest import Fastest
from arena_py.report.live import Display, Lines, shown
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


def test_a_further_plan_starts_over():
    progress, stream, _ = lines()
    for _ in range(2):
        progress.plan(1, 1)
        progress.done(summarised([cell("a:cpu", around(100))], seed=0)[0])
    assert [line[:4] for line in stream.getvalue().splitlines()] == ["[1/1", "[1/1"]


def test_hostile_words_do_not_reach_the_terminal():
    progress, stream, _ = lines()
    progress.done(cell("a:cpu", status="crashed", reason="[red]\x1b[2J boo"))
    assert "\x1b" not in stream.getvalue()
    assert "[red]" in stream.getvalue()


def test_plain_lines_name_the_fastest_so_far_what_broke_and_who_won():
    progress, stream, clock = lines()
    progress.plan(2, 1)
    progress.sampled("tiny/infer/b1 a:cpu", [90_000_000, 100_000_000, 110_000_000])
    progress.sampled("tiny/infer/b1 b:cpu", [50_000_000])
    clock.now_s = 11
    progress.phase("tiny/infer/b1 a:cpu", "launch 1 of 1: round 7")
    progress.failed("tiny/infer/b1 b:cpu", "crashed: run: SIGSEGV")
    clock.now_s = 22
    progress.phase("tiny/infer/b1 a:cpu", "launch 1 of 1: round 8")
    found = summarised([cell("a:cpu", around(100)), cell("c:cpu", around(150))], seed=0)
    progress.ended(found)
    told = stream.getvalue().splitlines()
    assert told[0].endswith("round 7; fastest so far: b:cpu, 50.0 ms, of 2")
    assert told[1].endswith("tiny/infer/b1 b:cpu: crashed: run: SIGSEGV")
    assert told[2].endswith("round 8; fastest so far: a:cpu, 100 ms, of 1")
    assert "tiny/infer/b1: a:cpu is fastest, 1.50 x [" in told[3]
    assert told[3].endswith("ahead of c:cpu")


def test_the_fastest_is_by_the_median_of_its_turns_and_of_its_case():
    found = Fastest()
    for turn in ([10], [10], [1000]):
        found.sampled("m/infer/b1 a:cpu", turn)
    found.sampled("m/infer/b1 b:cpu", [11])
    assert found.words == "a:cpu, 10.0 ns, of 2"
    found.out("m/infer/b2 a:cpu")
    assert found.words.startswith("a:cpu")
    found.sampled("m/infer/b2 b:cpu", [12])
    assert found.words == "b:cpu, 12.0 ns, of 1"
    found.over()
    assert found.words == ""


def terminal(**options):
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, **options), stream


def test_a_terminal_shows_how_far_it_is_what_runs_and_the_fastest_in_its_width():
    console, stream = terminal(width=80)
    clock = Clock()
    display = Display(console, clock)
    display.plan(4, 2)
    display.phase("a-model-of-a-long-name/infer/b1s128 meganeura:vulkan", "launch 1 of 3: preparing, first execution")
    display.sampled("tiny/infer/b1 a:cpu", [100_000_000])
    clock.now_s = 10
    display.launched("tiny/infer/b1 a:cpu", 1, 2)
    console.print(display)
    first, second, third = stream.getvalue().splitlines()
    assert "0/4 cells  00:00:10  about 30 s left" in first
    assert second.endswith("…")
    assert len(second) == 80
    assert "fastest so far: a:cpu, 100 ms, of 1, not verified yet" in third


def test_no_color_leaves_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console, stream = terminal(width=80)
    with shown(console) as progress:
        progress.plan(2, 1)
        progress.launched("tiny/infer/b1 a:cpu", 0, 1)
        progress.sampled("tiny/infer/b1 a:cpu", [100_000_000])
        progress.done(cell("a:cpu", status="crashed", reason="gone"))
    # Of the sequences that set how letters look, only bold, dim and their end.
    assert set(re.findall(r"\x1b\[([\d;]*)m", stream.getvalue())) <= {"", "0", "1", "2"}
    assert "tiny/infer/b1 a:cpu: crashed: gone" in stream.getvalue()


def test_a_line_stays_for_each_cell_and_case_that_is_over():
    console, stream = terminal(width=100)
    with shown(console) as progress:
        progress.plan(2, 1)
        progress.phase("[b]case[/b] a:cpu", "launch 1 of 1: starting")
        progress.launched("a:cpu", 0, 1)
        broken = cell("a:cpu", status="crashed", reason="gone")
        progress.done(broken)
        progress.ended([broken])
    assert "tiny/infer/b1 a:cpu: crashed: gone" in stream.getvalue()
    assert "tiny/infer/b1: nothing passed" in stream.getvalue()
