"""The command line itself: help, versions, exit codes, and what an error looks like."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from arena_py import __version__
from arena_py.cli import app
from arena_py.errors import ArenaError


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0

    out = capsys.readouterr().out
    for name, verb in app.VERBS.items():
        assert f"  {name}" in out
        assert verb.summary in out


@pytest.mark.parametrize("name", app.VERBS)
def test_a_summary_is_the_first_line_of_the_function_s_help(name: str) -> None:
    verb = app.VERBS[name]
    module, _, function = verb.function.partition(":")

    doc = getattr(importlib.import_module(module), function).__doc__

    assert doc.splitlines()[0] == verb.summary


@pytest.mark.parametrize("name", app.VERBS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([name, "--help"]) == 0

    out = " ".join(capsys.readouterr().out.split())
    assert app.VERBS[name].summary in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"arena {__version__}\n"


HEAVY = {
    "altair", "cyclonedx", "duckdb", "email", "huggingface_hub", "jinja2", "lief", "numpy", "pynvml", "scipy", "ssl",
    "tabulate", "torch", "uv", "vl_convert", "zstandard",
}  # fmt: skip
"""What only some verbs need, once they work."""
COMMANDS = {"cyclopts", "msgspec", "psutil", "rich"}
"""What every verb needs, and its help."""


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], HEAVY | COMMANDS),
        (["--version"], HEAVY | COMMANDS),
        (["list"], HEAVY),
        *(([name, "--help"], HEAVY) for name in app.VERBS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "heavy",
)
def test_a_start_imports_nothing_heavy(words: list[str], absent: set[str]) -> None:
    code = (
        f"import sys; from arena_py.cli.app import main; main({words!r})\n"
        f"found = {absent!r} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("biuld", "error: unknown command: biuld\nhint: did you mean build? known: "),
        ("--frobnicate", "error: unknown option: --frobnicate\nhint: known: "),
    ],
)
def test_an_unknown_word_is_a_usage_error(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([word]) == 2
    assert capsys.readouterr().err.startswith(told)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def dispatch(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(app, "_dispatch", dispatch)


def test_a_package_that_is_not_installed_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ModuleNotFoundError("No module named 'cyclopts.core'", name="cyclopts.core"))

    assert app.main(["list"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: this Python ({sys.executable}) has no cyclopts\nhint: install Arena")
    assert "Traceback" not in told


def test_a_module_that_arena_itself_lacks_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ModuleNotFoundError("No module named 'arena_py.gone'", name="arena_py.gone"))

    assert app.main(["list"]) == 1
    assert "this is a bug" in capsys.readouterr().err


def test_an_error_for_the_user_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ArenaError("it broke", hint="mend it", exit_code=1))

    assert app.main(["list"]) == 1
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, KeyboardInterrupt())

    assert app.main(["list"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_a_bug_keeps_its_traceback_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ZeroDivisionError("oops"))

    assert app.main(["list"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: oops" in err
    assert "please report it" in err


def test_a_reader_that_went_away_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m arena_py list --format json | true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""
