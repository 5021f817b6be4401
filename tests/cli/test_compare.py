"""`compare`, with runners that pretend: what is printed, kept, and the exit code."""

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pretend import built, pretend

from arena_py import build, frameworks
from arena_py.cli.app import main
from arena_py.contract.adapter import Output, Parameters
from arena_py.contract.messages import Backend, Build, Description, FrameworkVersion
from arena_py.measure.plan import Selection, make_plan
from arena_py.results import baselines, store

QUICK = ["compare", "--suite", "quick", "--model", "llama-tiny", "--launches", "1", "--rounds", "2"]
PRETEND = Path(__file__).with_name("pretend.py")


@pytest.fixture
def world(tmp_path, monkeypatch):
    def make(expected=1.0, **behaviours):
        named = {label.replace("_", ":"): behaviour for label, behaviour in behaviours.items()}
        pretend(tmp_path / "case", named, monkeypatch.setattr, expected=expected)

    return make


def compare(tmp_path, *arguments, task="infer"):
    code = main([*QUICK, "--task", task, "--output", str(tmp_path / "out"), *arguments])
    return code, {cell.label: cell for cell in store.load(tmp_path / "out").cells}


def test_what_passes_is_ranked_and_kept(world, tmp_path, capsys):
    world(candle_cpu="good", burn_flex="good")
    code, cells = compare(tmp_path, "--framework", "candle", "--framework", "burn:flex")
    assert code == 0
    assert {cell.status for cell in cells.values()} == {"passed"}
    assert all(cell.summary.rank for cell in cells.values())
    assert all(cell.verification.passed for cell in cells.values())
    assert all(launch.peak_rss_bytes == 1 << 20 for cell in cells.values() for launch in cell.launches)
    out = capsys.readouterr()
    assert "candle:cpu" in out.out
    assert "launch 1 of 1: loading the weights" in out.err
    assert "burn:flex" in (tmp_path / "out" / "run.md").read_text()


def test_wrong_numbers_end_with_one_and_are_not_ranked(world, tmp_path):
    world(expected=2.0, candle_cpu="good")
    code, cells = compare(tmp_path, "--framework", "candle")
    assert code == 1
    cell = cells["candle:cpu"]
    assert cell.status == "wrong"
    assert "logits: error 5.00e-01 is over the limit" in cell.reason
    assert cell.summary.rank is None


def test_time_and_limits_of_the_command_line_stand_over_the_suites(world, tmp_path):
    world(candle_cpu="hang@run", burn_flex="good")
    options = ["--timeout", "run=1", "--limit", "log_lines=7"]
    _, cells = compare(tmp_path, "--framework", "candle", "--framework", "burn", *options)
    assert cells["candle:cpu"].reason == "run: no answer within 1 s"
    assert cells["burn:flex"].status == "passed"
    limits = make_plan(Selection(suite="quick", limits=["memory_bytes=8GiB", "log_lines=7"])).suite.limits
    assert (limits.memory_bytes, limits.log_lines, limits.processes) == (8 << 30, 7, 256)


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        ("crash@run", "crashed", "SIGSEGV"),
        ("garbage@load", "crashed", "protocol: load: not an answer"),
        ("!cargo is not installed", "not_built", "cargo is not installed"),
    ],
)
def test_what_breaks_ends_with_one_and_leaves_the_others_alone(world, tmp_path, behaviour, status, words):
    world(candle_cpu=behaviour, burn_flex="good")
    code, cells = compare(tmp_path, "--framework", "candle", "--framework", "burn")
    assert code == 1
    assert cells["candle:cpu"].status == status
    assert words in cells["candle:cpu"].reason
    assert cells["burn:flex"].status == "passed"


def test_the_log_of_a_crash_is_kept_and_quoted(world, tmp_path, capsys):
    world(candle_cpu="crash@load")
    _, cells = compare(tmp_path, "--framework", "candle")
    assert cells["candle:cpu"].log_tail == ["the roof is on fire"]
    assert "the roof is on fire" in capsys.readouterr().out


def test_without_a_reference_nothing_is_measured_and_all_say_why(world, tmp_path):
    world(candle_cpu="good", pytorch_eager="good")
    code, cells = compare(tmp_path, "--framework", "candle", task="train")
    assert code == 1
    assert cells["candle:cpu"].status == "crashed"
    assert cells["candle:cpu"].reason == "the case could not be prepared: the reference run failed: out of memory"
    assert cells["candle:cpu"].launches == []


def test_weights_of_the_users_that_do_not_fit_are_a_usage_error(world, tmp_path, capsys):
    world(candle_cpu="good")
    code = main([*QUICK, "--task", "infer", "--framework", "candle", "--weights", "bad.safetensors"])
    assert code == 2
    assert capsys.readouterr().err.endswith(
        "error: bad.safetensors: tensor 'norm' is missing\nhint: name every parameter\n"
    )


def test_no_build_takes_what_is_there(world, tmp_path):
    world(candle_cpu="good")
    code, cells = compare(tmp_path, "--framework", "candle", "burn", "--no-build")
    assert code == 1
    assert (cells["candle:cpu"].status, cells["burn:flex"].status) == ("passed", "not_built")
    assert "was never built" in cells["burn:flex"].reason


class Ones:
    """A framework whose output is 1, whatever it is given."""

    parameters = Parameters(count=3, bytes=12)

    def describe(self):
        build = Build("none", "release", [])
        return Description(
            contract=1,
            runner="ones",
            framework=FrameworkVersion("ones", "7"),
            backends=[Backend("cpu", "this one", ["f32"])],
            architectures={"llama": ["infer"]},
            own_kernels=[],
            build=build,
        )

    def load(self, _spec):
        print("hello from the framework")
        return self

    def prepare(self, _task, _options, inputs):
        self.bind(inputs)
        return self

    def bind(self, inputs):
        self.value = inputs["logits"] + 1.0

    def execute(self, _boundary):
        time.sleep(0.001)

    def outputs(self):
        yield Output("logits", lambda: self.value)


def test_in_the_drivers_process_what_a_process_alone_has_is_absent(world, tmp_path, monkeypatch, capsys):
    world(candle_cpu="good", pytorch_eager="!never asked for")
    here = dataclasses.replace(built("good"), command=[], in_process="ones")
    monkeypatch.setattr(build, "in_process", lambda _framework, _variant: here)
    monkeypatch.setattr(frameworks, "framework", lambda _name: Ones())
    monkeypatch.setattr(os, "environ", dict(os.environ))
    code, cells = compare(
        tmp_path, "--framework", "candle", "--framework", "pytorch", "--in-process", "--format", "json"
    )
    assert code == 0
    cell = cells["pytorch:eager"]
    assert (cell.status, cells["candle:cpu"].status) == ("passed", "passed")
    assert cell.description.runner == "ones"
    (launch,) = cell.launches
    assert (launch.startup_ns, launch.peak_rss_bytes) == (None, None)
    assert launch.load_ns >= 0
    assert any("ran in the driver's own process" in note for note in cell.notes)
    assert not cells["candle:cpu"].notes or "own process" not in cells["candle:cpu"].notes[0]
    json.loads(capsys.readouterr().out)


def test_a_package_missing_for_the_drivers_process_is_a_cell_with_its_reason(world, tmp_path):
    world(candle_cpu="good", pytorch_eager="good")
    code, cells = compare(tmp_path, "--framework", "candle", "--framework", "pytorch", "--in-process")
    assert code == 1
    assert cells["pytorch:eager"].status == "not_built"
    assert "has no torch, transformers, diffusers" in cells["pytorch:eager"].reason
    assert cells["candle:cpu"].status == "passed"


@pytest.mark.parametrize("format_", ["table", "md", "csv", "json"])
def test_standard_output_is_the_result_alone(world, tmp_path, capsys, format_):
    world(candle_cpu="good")
    compare(tmp_path, "--framework", "candle", "--format", format_)
    out = capsys.readouterr().out
    if format_ == "json":
        assert out == (tmp_path / "out" / "run.json").read_text()
        assert json.loads(out)["suite"] == "quick"
    elif format_ == "csv":
        (row,) = csv.DictReader(io.StringIO(out))
        assert row["status"] == "passed"
    elif format_ == "md":
        assert out == (tmp_path / "out" / "run.md").read_text()
    else:
        assert "llama-tiny/infer/b2s12: candle:cpu passed" in out


def test_the_document_says_what_was_asked_for(world, tmp_path):
    world(candle_cpu="good")
    compare(tmp_path, "--framework", "candle", "--seed", "7", "--budget", "0.5", "--threads", "1")
    run = store.load(tmp_path / "out")
    assert (run.seed, run.threads, run.settings.rounds) == (7, 1, 2)
    assert (run.settings.sampling.budget_s, run.settings.sampling.launches) == (0.5, 1)
    assert run.finished is not None
    (case,) = run.cases
    assert case.reference_sha256 == "d" * 64
    (cell,) = run.cells
    assert [turn.round for turn in cell.turns if not turn.warmup] == [0, 1]
    assert cell.description.runner == "fake"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "quik"], "unknown suite: quik"),
        (["--model", "lama-tiny"], "unknown model: lama-tiny"),
        (["--framework", "candel"], "unknown framework: candel"),
        (["--framework", "candle:gpu"], "unknown variant of candle: gpu"),
        (["--task", "inferr"], "unknown task: inferr"),
        (["--model", "resnet-tiny", "--task", "decode"], "model resnet-tiny has no case of decode"),
        (["--launches", "0"], "--launches 0 is less than 1"),
        (["--rounds", "-1"], "--rounds -1 is less than 1"),
        (["--budget", "nan"], "--budget nan is not a number of seconds above 0"),
        (["--threads", "0"], "--threads 0 is less than 1"),
        (["--seed", "-3"], "--seed -3 is negative"),
        (["--suite", "standard", "--weights", "some.safetensors"], "--weights some.safetensors fits one model"),
        (["--timeout", "jump=3"], "--timeout jump=3: unknown: jump"),
        (["--timeout", "load=0"], "--timeout load=0 is not a number of seconds above 0"),
        (["--limit", "memory_bytes=much"], "--limit memory_bytes=much is not of the form NAME=NUMBER"),
        (["--limit", "processes=0.5"], "--limit processes=0.5 is not a whole number above 0"),
        (["--limit", "colour=1"], "--limit colour=1: unknown: colour"),
        (["--launches", "many"], "invalid value"),
        (["--format", "xml"], "invalid value"),
        (["--no-such-option"], "unknown option"),
    ],
)
def test_a_mistake_is_told_before_anything_is_done(world, capsys, arguments, message):
    world()
    assert main(["compare", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_the_closest_name_is_proposed(world, capsys):
    world()
    main(["compare", "--task", "inferr"])
    assert "did you mean infer?" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_keeps_results_and_kills_runners(tmp_path, number, code):
    command = [sys.executable, str(PRETEND), str(tmp_path / "case"), "candle:cpu=good", "burn:flex=hang@outputs", "--"]
    command += [*QUICK, "--framework", "candle", "--framework", "burn", "--task", "infer", "--task", "latency"]
    driver = subprocess.Popen(
        [*command, "--output", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A shell starts its background jobs with the signal ignored, and so would be what they start.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509
    )
    for line in driver.stderr:
        if "burn:flex: launch 1 of 1: verifying" in line:
            break
    time.sleep(0.3)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    driver.send_signal(number)
    rest = driver.communicate(timeout=60)[1]
    assert driver.returncode == code
    assert "Traceback" not in rest
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    run = store.load(tmp_path / "out")
    assert run.finished is None
    assert "the run was interrupted before its end" in run.warnings
    assert len(run.cells) == 4
    assert [cell.status for cell in run.cells if cell.label == "burn:flex"] == ["unavailable"] * 2
    (sampled,) = [cell for cell in run.cells if cell.label == "burn:flex" and cell.task == "infer"]
    assert sampled.turns
    assert sampled.reason == "interrupted before its numbers were verified"


def test_a_run_is_kept_as_a_baseline_and_compared_with_it(world, tmp_path, capsys):
    world(candle_cpu="good")
    code, _ = compare(tmp_path, "--framework", "candle", "--save-baseline", "main")
    assert code == 0
    assert baselines.load("main").cells[0].label == "candle:cpu"
    capsys.readouterr()
    code, _ = compare(tmp_path, "--framework", "candle", "--baseline", "main", "--fail-above", "5%")
    assert code == 0
    assert "1 tie" in capsys.readouterr().out


def test_what_is_newly_wrong_ends_with_one_also_against_a_baseline(world, tmp_path, capsys):
    world(candle_cpu="good")
    compare(tmp_path, "--framework", "candle", "--save-baseline", "main")
    world(expected=2.0, candle_cpu="good")
    code, _ = compare(tmp_path, "--framework", "candle", "--baseline", "main")
    assert code == 1
    assert "newly wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--baseline", "nowhere"], ["--fail-above", "5%"], ["--save-baseline", "../x"], ["--fail-above", "x"]]
)
def test_bad_words_about_baselines_end_before_anything_is_measured(world, tmp_path, capsys, words):
    world(candle_cpu="good")
    assert main([*QUICK, "--output", str(tmp_path / "out"), "--framework", "candle", *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "words"), [(28, "no space left on device"), (30, "read-only file system")])
def test_what_the_disk_refuses_is_told_without_a_traceback(world, tmp_path, monkeypatch, capsys, number, words):
    world(candle_cpu="good")

    def refused(*_arguments, **_options):
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    assert main([*QUICK, "--task", "infer", "--framework", "candle", "--output", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"error: /some/where: {words}" in err
    assert "hint: " in err
    assert "Traceback" not in err


def test_a_library_that_is_missing_here_makes_a_cell_unavailable_by_name(world, tmp_path):
    world(candle_cuda="?libcublas.so.13", burn_flex="good")
    code, cells = compare(tmp_path, "--no-build", "--framework", "candle:cuda", "--framework", "burn:flex")
    assert code == 0
    assert cells["candle:cuda"].status == "unavailable"
    assert "needs libcublas.so.13, and no such library is found" in cells["candle:cuda"].reason
    assert cells["burn:flex"].status == "passed"


def test_a_sweep_ends_where_memory_does_and_that_is_no_failure(world, tmp_path):
    world(candle_cpu="full@prepare", burn_flex="good")
    arguments = ["--framework", "candle", "--framework", "burn:flex", "--sweep", "batch=1,2", "seq=4,8"]
    code = main([*QUICK, "--task", "infer", "--output", str(tmp_path / "out"), *arguments])
    run = store.load(tmp_path / "out")
    assert code == 0
    assert run.settings.sweep == {"batch": [1, 2], "seq": [4, 8]}
    found = {(cell.label, cell.shape): cell for cell in run.cells}
    assert {cell.status for cell in run.cells if cell.label == "burn:flex"} == {"passed"}
    assert found["candle:cpu", "b1s4"].status == "out_of_memory"
    for shape in ("b2s4", "b1s8", "b2s8"):
        assert found["candle:cpu", shape].status == "skipped"
        assert found["candle:cpu", shape].reason == "already out of memory on llama-tiny/infer/b1s4"


def test_out_of_memory_without_a_sweep_is_a_failure(world, tmp_path):
    world(candle_cpu="full@load")
    code, cells = compare(tmp_path, "--framework", "candle")
    assert (code, cells["candle:cpu"].status) == (1, "out_of_memory")


def test_one_boundary_holds_for_all(world, tmp_path):
    world(candle_cpu="good")
    _, cells = compare(tmp_path, "--framework", "candle", "--boundary", "device")
    assert cells["candle:cpu"].boundary == "device"
