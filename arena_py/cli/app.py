"""From the command line to one verb's function, and from what it raises to an exit code.

Nothing heavy is imported before a verb is known: `--help` and `--version` answer from the table below. The function of
a verb returns the exit code; its docstring is its help.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arena_py import __version__
from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from types import FrameType

SUMMARY = "Which ML framework computes your model correctly, how fast, in how much memory, and what must you ship?"
WRONG = 1
USAGE = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
ROOM = "free some room, or set ARENA_ARTIFACTS to a folder on another disk"
INSTALL = "install Arena with what it depends on: pip install -e . in its checkout, or use the Python that has it"
RIGHTS = "set ARENA_ARTIFACTS to a folder that you may write"
CIRCUMSTANCES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EROFS: RIGHTS,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
}
"""What the operating system refuses through nobody's mistake, and what to do about it."""


@dataclass(frozen=True)
class Verb:
    """A command: where its function is, and the first line of that function's docstring."""

    function: str
    summary: str


VERBS = {
    "compare": Verb("arena_py.cli.compare:compare", "Measure frameworks on models, and rank those that are right."),
    "build": Verb("arena_py.cli.build:build", "Build the runners of frameworks."),
    "conform": Verb("arena_py.cli.conform:conform", "Put runners through golden cases and every rule of the contract."),
    "verify": Verb(
        "arena_py.cli.verify:verify", "Prove the numbers of runners without measuring them, or test the gate itself."
    ),
    "audit": Verb(
        "arena_py.cli.audit:audit",
        "Measure what has to be shipped to run a model: executables, environments, start-up, memory.",
    ),
    "bundle": Verb(
        "arena_py.cli.bundle:bundle",
        "Pack the smallest archive that runs a model, or prove that one does with nothing else.",
    ),
    "report": Verb(
        "arena_py.cli.report:report", "Make a page of runs, a folder of pages, or Markdown for a pull request."
    ),
    "diff": Verb(
        "arena_py.cli.diff:diff",
        "Compare two runs cell by cell: regressions, improvements, ties, what is newly wrong or gone.",
    ),
    "aa": Verb("arena_py.cli.aa:aa", "Measure variants against themselves, and keep this machine's noise floor."),
    "history": Verb("arena_py.cli.history:history", "Show what became of a model's numbers over all stored runs."),
    "export": Verb(
        "arena_py.cli.export:export", "Write the cells of all stored runs into one file for other programs."
    ),
    "list": Verb("arena_py.cli.list:list_", "List frameworks, models and suites."),
    "doctor": Verb("arena_py.cli.doctor:doctor", "Tell what this machine can run, what is missing and how to get it."),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; `sys.argv`'s when none.

    Returns:
        The exit code: 0 done, 1 something is wrong or broken, 2 usage, 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    first = words[0] if words else ""
    if first in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if first in ("-V", "--version"):
        sys.stdout.write(f"arena {__version__}\n")
        return 0
    if not first:
        sys.stderr.write(overview())
        return USAGE
    if first not in VERBS:
        import difflib

        close = difflib.get_close_matches(first, VERBS, n=1)
        known = f"known: {', '.join(VERBS)}"
        what = "option" if first.startswith("-") else "command"
        return _fail(f"unknown {what}: {first}", f"did you mean {close[0]}? {known}" if close else known, USAGE)
    return _guarded(words)


def program() -> str:
    """How the user started Arena: `python -m arena_py`, or the name of the installed script."""
    script = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 (pathlib is not imported for this)
    return "arena" if script in ("arena", "arena.exe") else "python -m arena_py"


def overview() -> str:
    """The text of `--help`."""
    width = max(map(len, VERBS))
    verbs = "".join(f"  {name:<{width}}  {verb.summary}\n" for name, verb in VERBS.items())
    return (
        f"Usage: {program()} COMMAND [OPTIONS]\n\n{SUMMARY}\n\nCommands:\n{verbs}\n"
        f"Options:\n  -h, --help     Show this, or a command's own help after it.\n  -V, --version  Show the version.\n"
    )


def _guarded(words: list[str]) -> int:
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except ArenaError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG
    except Exception as error:
        return _unforeseen(error, words)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _unforeseen(error: Exception, words: list[str]) -> int:
    """What no verb foresaw: something that the operating system refused, or a bug, shown with its traceback."""
    if isinstance(error, OSError) and error.errno in CIRCUMSTANCES:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{(error.strerror or str(error)).lower()}", CIRCUMSTANCES[error.errno], WRONG)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != "arena_py":
        return _fail(f"this Python ({sys.executable}) has no {error.name.split('.')[0]}", INSTALL, USAGE)
    import traceback

    traceback.print_exc()
    sys.stderr.write(
        f"error: this is a bug in arena {__version__}\nhint: please report it with the traceback above and the "
        f"command: {program()} {' '.join(words)}\n"
    )
    return WRONG


def _dispatch(words: list[str]) -> int:
    import cyclopts

    app = cyclopts.App(
        name=program(),
        help=SUMMARY,
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, verb in VERBS.items():
        app.command(verb.function, name=name)
    try:
        code = app(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        told = str(error).strip()
        message = told[:1].lower() + told[1:].rstrip(".")
        raise ArenaError(message, hint=f"{program()} {words[0]} --help") from error
    return code if isinstance(code, int) else 0


def _terminated(number: int, _frame: FrameType | None) -> None:
    """End like on any error, so that whatever was started is ended and nothing is left half-made."""
    raise SystemExit(128 + number)


def _fail(message: str, hint: str | None, code: int) -> int:
    sys.stderr.write(f"error: {message}\n" + (f"hint: {hint}\n" if hint else ""))
    return code
