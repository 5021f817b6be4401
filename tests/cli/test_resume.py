"""`compare --resume`: what was measured whole is kept, what is missing is measured, and nothing else is believed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from pretend import built, pretend

from arena_py import leftovers, manifest, places
from arena_py.cli.app import main
from arena_py.errors import ArenaError
from arena_py.measure import machine
from arena_py.measure.case import CaseMeasurement
from arena_py.measure.plan import Plan
from arena_py.results import begun, store
from arena_py.results.journal import JOURNAL
from arena_py.verify import cases

PRETEND = Path(__file__).with_name("pretend.py")
QUICK = ["--suite", "quick", "--model", "llama-tiny", "--launches", "1", "--rounds", "2", "--threads", "1"]
WORDS = [*QUICK, "--task", "infer", "--task", "latency", "--framework", "candle", "--framework", "burn"]
FIRST, SECOND = "llama-tiny/infer/b2s12", "llama-tiny/latency/b1s1"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Runners that pretend; what is called with a case is interrupted there, once."""

    def make(interrupted: str | None = None, **behaviours: str) -> list[str]:
        named = {label.replace("_", ":"): behaviour for label, behaviour in behaviours.items()}
        pretend(tmp_path / "case", named or {"candle:cpu": "good", "burn:flex": "good"}, monkeypatch.setattr)
        measured: list[str] = []
        original = getattr(CaseMeasurement.run, "original", CaseMeasurement.run)

        def run(self: CaseMeasurement, progress: Any, processes: Any) -> None:
            measured.append(self.case.name)
            original(self, progress, processes)
            if self.case.name == interrupted:
                raise KeyboardInterrupt

        run.original = original
        monkeypatch.setattr(CaseMeasurement, "run", run)
        return measured

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def cut_off(world: Any, out: Path, **behaviours: str) -> None:
    world(SECOND, **behaviours)
    assert main(["compare", *WORDS, "--output", str(out)]) == 130


def form(value: Any) -> Any:
    """What kind of value it is; of a list, what kinds are in it."""
    if isinstance(value, dict):
        return tuple(sorted((name, form(item)) for name, item in value.items()))
    if isinstance(value, list):
        return tuple(sorted({repr(form(item)) for item in value}))
    return type(value).__name__


def test_only_what_is_missing_is_measured_and_the_rest_is_kept(world, out, capsys) -> None:
    cut_off(world, out)
    assert f"to take it up again: python -m arena_py compare --resume {out}" in capsys.readouterr().err
    before = store.load(out)
    assert before.finished is None
    measured = world()
    assert main(["compare", "--resume", str(out)]) == 0
    run = store.load(out)
    assert measured == [SECOND]
    assert [cell for cell in run.cells if cell.case == FIRST] == [cell for cell in before.cells if cell.case == FIRST]
    assert all(cell.status == "passed" and cell.summary for cell in run.cells)
    assert (run.started, run.command) == (before.started, before.command)
    assert len(run.resumed) == 1
    assert "the run was cut off and taken up again once" in run.warnings
    assert not (out / JOURNAL).exists()
    assert "1 of 2 cases are there, 1 are missing" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [False, True])
def test_the_result_has_the_form_of_an_uninterrupted_one(world, out, tmp_path, monkeypatch, *, kept: bool) -> None:
    monkeypatch.setattr(Plan, "keeps_processes", kept)
    cut_off(world, out)
    world()
    main(["compare", "--resume", str(out)])
    main(["compare", *WORDS, "--output", str(tmp_path / "at-once")])
    resumed, at_once = (msgspec.to_builtins(store.load(path)) for path in (out, tmp_path / "at-once"))
    for differs in ("id", "command", "resumed", "warnings"):
        resumed.pop(differs)
        at_once.pop(differs)
    names = ("framework", "variant", "model", "task", "shape", "status")
    resumed_cells, cells = ([[cell[name] for name in names] for cell in each["cells"]] for each in (resumed, at_once))
    assert resumed_cells == cells
    assert resumed["cases"] == at_once["cases"]
    for each in (*resumed["cells"], *at_once["cells"]) if kept else ():
        # Where processes are kept, which case started one, and says so, is another after a new start.
        del each["notes"]
        for launch in each["launches"]:
            del launch["startup_ns"]
    assert form(resumed) == form(at_once)


def test_a_lock_that_outlived_the_driver_of_a_whole_run_goes(world, out) -> None:
    world()
    main(["compare", *WORDS, "--output", str(out)])
    lock = out / store.LOCK
    lock.write_text("4194304")
    assert main(["compare", "--resume", str(out)]) in (0, 1)
    assert not lock.exists()


def test_a_half_measured_case_is_done_anew(world, out) -> None:
    cut_off(world, out)
    half = [cell for cell in store.load(out).cells if cell.case == SECOND]
    assert all(cell.turns for cell in half)
    world()
    main(["compare", "--resume", str(out)])
    anew = [cell for cell in store.load(out).cells if cell.case == SECOND]
    assert [cell.launches for cell in anew] != [cell.launches for cell in half]
    orders = sorted(turn.order for cell in anew for turn in cell.turns)
    assert orders == list(range(len(orders)))


def test_it_may_be_cut_off_again_and_again(world, out) -> None:
    cut_off(world, out)
    for _ in range(2):
        world(SECOND)
        assert main(["compare", "--resume", str(out)]) == 130
    world()
    assert main(["compare", "--resume", str(out)]) == 0
    assert len(store.load(out).resumed) == 3


def test_what_failed_is_a_verdict_and_is_kept(world, out) -> None:
    cut_off(world, out, candle_cpu="crash@run", burn_flex="!cargo is missing")
    measured = world(candle_cpu="crash@run", burn_flex="!it was never built")
    assert main(["compare", "--resume", str(out)]) == 1
    assert measured == [SECOND]
    run = store.load(out)
    assert {cell.status for cell in run.cells if cell.framework == "candle"} == {"crashed"}
    assert {cell.reason for cell in run.cells if cell.framework == "burn"} == {"cargo is missing"}


def test_a_run_that_is_whole_has_nothing_missing(world, out, capsys) -> None:
    measured = world()
    main(["compare", *WORDS, "--output", str(out)])
    measured.clear()
    document = (out / "run.json").read_bytes()
    assert main(["compare", "--resume", str(out)]) == 0
    assert measured == []
    assert (out / "run.json").read_bytes() == document
    assert "nothing is missing" in capsys.readouterr().err


def test_latest_is_the_latest_that_is_unfinished(world, tmp_path, capsys) -> None:
    world(SECOND)
    assert main(["compare", *WORDS]) == 130
    name = next((tmp_path / "case" / "artifacts" / "results").iterdir()).name
    assert f"--resume {name}" in capsys.readouterr().err
    assert main(["compare", "--resume", "yesterday"]) == 2
    assert f"unfinished: {name}" in capsys.readouterr().err
    world()
    assert main(["compare", "--resume", "latest"]) == 0
    assert main(["compare", "--resume", "latest"]) == 2
    assert "every stored run is whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--suite", "standard"], "--suite"),
        (["--framework", "candle", "--seed", "3"], "--framework, --seed"),
        (["--output", "x", "--no-build"], "--output, --no-build"),
        (["--in-process", "--limit", "processes=3"], "--limit, --in-process"),
    ],
)
def test_it_does_not_go_with_words_that_say_what_is_measured(world, capsys, words, named) -> None:
    world()
    assert main(["compare", "--resume", "x", *words]) == 2
    assert f"does not go with {named}" in capsys.readouterr().err


def other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = cases.prepare

    def prepare(*words: Any, **more: Any) -> cases.CaseFiles:
        return msgspec.structs.replace(honest(*words, **more), weights_sha256="e" * 64)

    monkeypatch.setattr(cases, "prepare", prepare)


def other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = machine.machine
    monkeypatch.setattr(machine, "machine", lambda: msgspec.structs.replace(honest(), cpu="Another CPU"))


def other_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    record = msgspec.structs.replace(built("good").record, executable_sha256="f" * 64)
    another = dataclasses.replace(built("good"), record=record)
    monkeypatch.setattr("arena_py.build.locate", lambda _framework, _variant: another)


def no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*_words: Any, **_more: Any) -> cases.CaseFiles:
        raise ArenaError("no room")

    monkeypatch.setattr(cases, "prepare", prepare)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_weights, f"the weights of {SECOND} was aaaaaaaaaaaa…, is eeeeeeeeeeee…"),
        (other_machine, "the machine: cpu was "),
        (other_executable, "the build of candle:cpu: executable_sha256 was none, is ffffffffffff…"),
        (no_reference, f"{SECOND} can no longer be prepared: no room"),
        (lambda patch: patch.setattr(begun, "_sources_sha256", lambda: "0"), "arena's own sources was "),
        (lambda patch: patch.setattr(begun, "__version__", "9.9"), "arena was 0.1.0, is 9.9"),
    ],
)
def test_what_it_depends_on_must_be_as_it_was(world, out, monkeypatch, capsys, change, named) -> None:
    cut_off(world, out)
    journal = (out / JOURNAL).read_bytes()
    measured = world()
    change(monkeypatch)
    assert main(["compare", "--resume", str(out)]) == 2
    err = capsys.readouterr().err
    assert f"{out.name} cannot be taken up" in err
    assert named in err
    assert "hint: make it as it was, or start the run anew" in err
    assert measured == []
    assert (out / JOURNAL).read_bytes() == journal


def test_a_changed_suite_is_named_and_a_relative_one_is_where_it_was(world, out, tmp_path, monkeypatch, capsys) -> None:
    suite = Path("mine.toml")
    monkeypatch.chdir(tmp_path)
    text = (places.manifests() / "suites" / "quick.toml").read_text()
    suite.write_text(text)
    words = ["--suite" if word == "--suite" else "mine.toml" if word == "quick" else word for word in WORDS]
    world(SECOND)
    assert main(["compare", *words, "--output", str(out)]) == 130
    world()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["compare", "--resume", str(out)]) == 2
    assert f"hint: cd {tmp_path}" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    suite.write_text(text.replace("k = 8.0", "k = 9.0"))
    manifest.suite.cache_clear()
    assert main(["compare", "--resume", str(out)]) == 2
    assert "suite mine.toml: gate: f32: k was 8.0, is 9.0" in capsys.readouterr().err
    manifest.suite.cache_clear()


def test_what_is_missing_and_no_longer_built_is_named(world, out, capsys) -> None:
    cut_off(world, out)
    world(candle_cpu="good", burn_flex="!gone")
    assert main(["compare", "--resume", str(out)]) == 2
    assert "whether burn:flex is built was True, is False" in capsys.readouterr().err


def test_a_run_of_aa_is_not_taken_up(world, tmp_path, capsys) -> None:
    world(FIRST)
    assert main(["aa", "candle", "--runs", "1", *QUICK, "--task", "infer"]) == 130
    assert main(["compare", "--resume", "latest"]) == 2
    assert "is no run of `compare`, and cannot be taken up" in capsys.readouterr().err


class Driver:
    """`compare` as a process of its own, with a runner that hangs in the second case."""

    def __init__(self, tmp_path: Path, *words: str, **behaviours: str) -> None:
        second = f"second-hangs:{tmp_path / 'launched'}@run"
        named = {"candle:cpu": "good", "burn:flex": second, **behaviours}
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(PRETEND), str(tmp_path / "case")),
                *(f"{label}={behaviour}" for label, behaviour in named.items()),
                "--",
                "compare",
                *words,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, words: str) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            if words in line:
                return
        pytest.fail(f"it ended without a word of {words!r}")

    def end(self, number: int) -> str:
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)[1]


def gone(processes: list[psutil.Process], timeout_s: float = 20.0) -> bool:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_ended_leaves_no_process_and_its_run_goes_on(tmp_path, out, number) -> None:
    driver = Driver(tmp_path, *WORDS, "--output", str(out))
    driver.until(f"{SECOND} burn:flex: launch 1 of 1: warming up")
    children = psutil.Process(driver.process.pid).children(recursive=True)
    assert len(children) >= 3
    driver.end(number)
    assert gone(children)
    assert (out / JOURNAL).exists()
    scratch = tmp_path / "case" / "artifacts" / "scratch"
    assert any(scratch.iterdir()) == (number == signal.SIGKILL)

    again = Driver(tmp_path, "--resume", str(out), **{"burn:flex": "good"})
    again.process.communicate(timeout=120)
    assert again.process.returncode == 0
    run = store.load(out)
    assert len(run.cells) == 4
    assert {cell.status for cell in run.cells} == {"passed"}
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "run.md"]


def test_what_another_process_measures_is_not_taken_up_and_not_tidied_away(tmp_path, out, world, capsys) -> None:
    driver = Driver(tmp_path, *WORDS, "--output", str(out))
    try:
        driver.until(f"{SECOND} burn:flex: launch 1 of 1: warming up")
        world()
        assert leftovers.sweep() == []
        assert main(["compare", "--resume", str(out)]) == 1
        assert f"is locked by process {driver.process.pid}" in capsys.readouterr().err
        assert main(["compare", *WORDS, "--output", str(out)]) == 1
        assert psutil.Process(driver.process.pid).children()
    finally:
        driver.end(signal.SIGTERM)
