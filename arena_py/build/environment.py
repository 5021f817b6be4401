"""A Python framework's environment in `artifacts/env/NAME`, made by uv from its lock.

Environments cannot be moved, so one is made in place and `arena-build.json` is written into it last: a folder without
that record was never finished, is trusted by nobody and goes away with the next build.
"""

from __future__ import annotations

import datetime
import hashlib
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from arena_py import places
from arena_py.build import advice, compiled, lockfile, process, record, tools
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.progress import Progress
from arena_py.build.record import BuildRecord
from arena_py.errors import ArenaError
from arena_py.footprint.size import bytes_of
from arena_py.manifest import Framework

MARKER = "arena-build.json"
STAGES = 3


def folder_of(framework: Framework) -> Path:
    """The framework's environment."""
    return places.artifacts() / "env" / framework.name


def python_in(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def log_of(name: str) -> Path:
    """Where the log of a build is."""
    return places.artifacts() / "logs" / f"build-{name}.log"


def state(framework: Framework) -> Built | NotBuilt:
    """The environment as it is: built from this lock and whole, or why not."""
    folder = folder_of(framework)
    kept = record.read(folder / MARKER)
    if kept is None:
        return NotBuilt("not built yet", hint=f"python -m arena_py build {framework.name}")
    try:
        lockfile.version(framework)
        lock_sha256 = record.sha256_of(lockfile.path_of(framework))
    except ArenaError as error:
        return NotBuilt(error.message, hint=error.hint)
    if kept.lock_sha256 != lock_sha256:
        return _stale(framework, "its lock changed since it was built")
    if kept.source_sha256 != _source_sha256(framework):
        return _stale(framework, "its requirements or what it is compiled for changed since it was built")
    python = python_in(folder)
    version = _python_version(python)
    if version != kept.compiler:
        return _stale(framework, f"it was made for {kept.compiler} and has {version or 'no interpreter that starts'}")
    # `-P` keeps the folder of the script off the path; Python 3.10 does not know it.
    isolated = ["-P"] if tools.version_numbers(kept.compiler) >= (3, 11) else []
    return Built([str(python), *isolated, str(places.PACKAGE / "worker.py"), framework.name], kept)


def build(framework: Framework, progress: Progress) -> Built | NotBuilt:
    """Make the environment anew.

    Raises:
        ArenaError: the artifacts folder cannot be written.
    """
    uv = tools.uv()
    if uv is None:
        return NotBuilt("uv is not installed", hint=tools.GET_UV)
    try:
        version = lockfile.version(framework)
    except ArenaError as error:
        return NotBuilt(error.message, hint=error.hint)
    if obstacle := compiled.obstacle(framework):
        return obstacle
    folder = folder_of(framework)
    try:
        _remove(folder)
        return _make(framework, uv, version, progress)
    except OSError as error:
        _remove(folder)
        raise ArenaError(f"{folder}: cannot be made: {error}", hint="is the disk full?", exit_code=1) from error
    except BaseException:
        _remove(folder)
        raise


def _make(framework: Framework, uv: str, version: str, progress: Progress) -> Built | NotBuilt:
    folder, lock, log = folder_of(framework), lockfile.path_of(framework), log_of(framework.name)
    python = python_in(folder)
    started = datetime.datetime.now(datetime.timezone.utc)
    clock = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    folder.parent.mkdir(parents=True, exist_ok=True)
    stages = [
        ("creating the environment", [uv, "venv", "--no-project", "--python", _interpreter(framework), str(folder)]),
        (
            "installing packages",
            [
                *(uv, "pip", "sync", "--python", str(python), "--require-hashes", "--compile-bytecode"),
                *compiled.arguments(framework),
                str(lock),
            ],
        ),
    ]
    environment = compiled.ENVIRONMENT if framework.compiled else {}
    for done, (what, command) in enumerate(stages):
        progress.step(what, done, STAGES)
        tick = _ticking(progress, what, done, log) if framework.compiled else progress.tick
        if process.run(command, cwd=places.artifacts(), log=log, environment=environment, on_tick=tick) != 0:
            _remove(folder)
            words = process.tail(log)
            return NotBuilt(f"uv failed while {what}", hint=advice.for_log(words), log=log, log_tail=words)
    progress.step("measuring its size", STAGES - 1, STAGES)
    compiler = _python_version(python)
    if compiler is None:
        _remove(folder)
        return NotBuilt("the interpreter of the new environment does not start", log=log, log_tail=process.tail(log))
    made = BuildRecord(
        schema=record.SCHEMA,
        framework=framework.name,
        version=version,
        features=[],
        source_sha256=_source_sha256(framework),
        lock_sha256=record.sha256_of(lock),
        compiler=compiler,
        seconds=round(time.monotonic() - clock, 3),
        bytes=bytes_of(folder),
        executable_sha256=None,
        started=started.isoformat(timespec="seconds"),
    )
    record.write(folder / MARKER, made)
    return state(framework)


def _ticking(progress: Progress, what: str, done: int, log: Path) -> Callable[[float], None]:
    """Ticks that also say how far a compilation is."""

    def tick(elapsed_s: float) -> None:
        if counted := compiled.counted(log):
            progress.step(f"{what}: compiling, {counted}", done, STAGES)
        progress.tick(elapsed_s)

    return tick


def _interpreter(framework: Framework) -> str:
    """The driver's own Python when it is new enough, else any that uv finds or fetches."""
    oldest = tools.version_numbers(framework.python)
    return sys.executable if sys.version_info[:2] >= oldest[:2] else f">={framework.python}"


def _python_version(python: Path) -> str | None:
    said = process.output([str(python), "-I", "-V"])
    return said.strip() if said else None


def _source_sha256(framework: Framework) -> str:
    told = ["=".join(setting) for setting in compiled.settings(framework)]
    recipe = [framework.python, *framework.requirements, *told]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()


def _stale(framework: Framework, reason: str) -> NotBuilt:
    return NotBuilt(reason, hint=f"python -m arena_py build {framework.name}")


def _remove(folder: Path) -> None:
    """Remove an environment, its record first, so that what remains of an interrupted removal is not trusted."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
