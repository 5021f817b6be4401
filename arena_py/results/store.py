"""Runs on disk: `artifacts/results/RUN/run.json`, written whole or not at all, and a journal until it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from arena_py import locking, places, scratch
from arena_py.contract.messages import UNREADABLE
from arena_py.errors import ArenaError
from arena_py.results import journal
from arena_py.results.begun import Begun
from arena_py.results.document import SCHEMA, Run
from arena_py.results.journal import JOURNAL, Journal, Measured, Resumed

RUN = "run.json"
REPORT = "run.md"
LOCK = ".run.lock"


def now() -> str:
    """The time as the document has it: ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunFolder:
    """The folder of one run while it is measured.

    Args:
        path: exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name

    @staticmethod
    def create(suite: str, output: Path | None = None) -> RunFolder:
        """A new folder: `artifacts/results/TIME-SUITE`, or `output` itself, whose earlier run will be replaced.

        Raises:
            ArenaError: it cannot be made.
        """
        try:
            if output is not None:
                output.mkdir(parents=True, exist_ok=True)
                return RunFolder(output.absolute())
            stem = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{Path(suite).stem}"
            for number in range(1, 100):
                path = places.artifacts() / "results" / (stem if number == 1 else f"{stem}-{number}")
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return RunFolder(path)
        except OSError as error:
            raise ArenaError(
                f"{error.filename}: cannot be made: {error.strerror}", hint="choose another folder with --output"
            ) from error
        raise ArenaError(f"{stem}: a hundred runs of the same second", exit_code=1)

    @staticmethod
    def unfinished(name: str) -> RunFolder:
        """The folder of a run that was cut off: its path, its name under `artifacts/results`, or `latest`.

        Raises:
            ArenaError: there is none.
        """
        found = sorted(results().glob(f"*/{JOURNAL}"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
        if name == "latest" and found:
            return RunFolder(found[-1].parent)
        place = next((each for each in (Path(name), results() / name) if (each / JOURNAL).is_file()), None)
        if place is None:
            names = ", ".join(path.parent.name for path in reversed(found))
            raise ArenaError(
                f"no run to take up: {name}", hint=f"unfinished: {names}" if found else "every stored run is whole"
            )
        return RunFolder(place.absolute())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who measures into it.

        Raises:
            ArenaError: another process does; named.
        """
        with locking.held(self.path, name=LOCK, note=locking.aloud, timeout_s=0):
            yield

    def begin(self, begun: Begun) -> None:
        """Start its journal; that of an earlier run goes."""
        with _errors(self.path):
            journal.begin(self.path, begun)

    def append(self, entry: Measured | Resumed) -> None:
        """Keep what is finished, so that an interruption loses none of it."""
        with _errors(self.path):
            journal.append(self.path, entry)

    def journal(self) -> Journal:
        """What an earlier sitting left.

        Raises:
            ArenaError: there is none, or it is not a journal of this version.
        """
        with _errors(self.path):
            found = journal.read(self.path)
            journal.mend(self.path)
            return found

    def finish(self, run: Run, report: str) -> None:
        """Write `run.json` and its report `run.md`; of a whole run they hold all of the journal, which goes."""
        write(self.path / RUN, encode(run))
        write(self.path / REPORT, report.encode())
        if run.finished is not None:
            (self.path / JOURNAL).unlink(missing_ok=True)


def encode(run: Run) -> bytes:
    """The run document as it is stored: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n"


def write(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old content or the new, whole, even after a crash.

    Raises:
        ArenaError: it cannot be written.
    """
    with _errors(path):
        scratch.write(path, content)


def load(path: Path) -> Run:
    """A stored run.

    Args:
        path: `run.json`, its folder, or the run's name under `artifacts/results`.

    Raises:
        ArenaError: there is none, or it is not a run document of this version.
    """
    found = next(
        (place for place in (path, path / RUN, places.artifacts() / "results" / path / RUN) if place.is_file()), None
    )
    if found is None:
        raise ArenaError(f"no such run: {path}", hint=f"expected a {RUN}, or a folder that holds one")
    with _errors(found):
        content = found.read_bytes()
    try:
        version = msgspec.json.decode(content, type=_Version).schema
        if version != SCHEMA:
            raise ArenaError(
                f"{found}: schema {version}, this arena reads {SCHEMA}", hint="use the arena version that wrote it"
            )
        return msgspec.json.decode(content, type=Run)
    except UNREADABLE as error:
        raise ArenaError(f"{found}: not a run document: {error}") from error


def results() -> Path:
    """The folder of all runs."""
    return places.artifacts() / "results"


def latest() -> Run:
    """The run that was written last.

    Raises:
        ArenaError: there is none, or it cannot be read.
    """
    found = sorted(results().glob(f"*/{RUN}"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    if not found:
        raise ArenaError("no run is stored", hint="python -m arena_py compare makes one")
    return load(found[-1])


def named(name: str) -> Run:
    """The run that a user calls `name`: `latest`, a folder under `artifacts/results`, or a path.

    Raises:
        ArenaError: there is none, or it is not a run document of this version.
    """
    return latest() if name == "latest" else load(Path(name))


class _Version(msgspec.Struct):
    schema: int


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turns an operating system's error into one for the user."""
    try:
        yield
    except OSError as error:
        raise ArenaError(f"{path}: {error.strerror or error}", exit_code=1) from error
