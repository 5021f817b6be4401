"""A Python framework's environment in `artifacts/env/NAME`, made by uv from its lock.

A variant with requirements, or with a torch, of its own has one of its own, `artifacts/env/NAME-VARIANT`; wherever a
variant is passed here, it is such a one. uv uses its cache alone where that has everything, and else the network.

Environments cannot be moved, so one is made in place and `arena-build.json` is written into it last: a folder without
that record was never finished, is trusted by nobody and goes away with the next build.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from arena_py import places
from arena_py.build import advice, compiled, lockfile, process, record, tools, torch_wheels
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.progress import Progress
from arena_py.build.record import BuildRecord, TorchWheels
from arena_py.errors import ArenaError
from arena_py.footprint.size import bytes_of
from arena_py.manifest import Framework, Variant

MARKER = "arena-build.json"
STAGES = 3
OFFLINE = re.compile(r"network (connectivity )?(is|was) disabled", re.IGNORECASE)
"""What uv says when it may not use the network and its cache lacks something."""


def name_of(framework: Framework, variant: Variant | None = None) -> str:
    """`pytorch`, or `pytorch-rocm` for the environment of a variant."""
    return f"{framework.name}-{variant.name}" if variant else framework.name


def folder_of(framework: Framework, variant: Variant | None = None) -> Path:
    """The environment of the framework, or of a variant with one of its own."""
    return places.artifacts() / "env" / name_of(framework, variant)


def python_in(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def log_of(name: str) -> Path:
    """Where the log of a build is."""
    return places.artifacts() / "logs" / f"build-{name}.log"


def state(framework: Framework, variant: Variant | None = None, *, torch: str = torch_wheels.AUTO) -> Built | NotBuilt:
    """The environment as it is: built from this lock and whole, or why not.

    Args:
        framework: a Python framework.
        variant: one with an environment of its own.
        torch: which wheels of torch are asked for; those that are there will do for `auto`.
    """
    folder = folder_of(framework, variant)
    hint = f"python -m arena_py build {_selector(framework, variant)}"
    kept = record.read(folder / MARKER)
    if kept is None:
        return NotBuilt("not built yet", hint=hint)
    try:
        lockfile.version(framework, variant)
        lock_sha256 = record.sha256_of(lockfile.path_of(framework, variant))
    except ArenaError as error:
        return NotBuilt(error.message, hint=error.hint)
    if (kept.lock_sha256, kept.source_sha256) != (lock_sha256, _source_sha256(framework, variant)):
        changed = "lock" if kept.lock_sha256 != lock_sha256 else "requirements or what it is compiled for"
        return NotBuilt(f"its {changed} changed since it was built", hint=hint)
    own_torch = variant.torch_backend if variant else None
    if kept.torch and (own_torch or torch) not in (torch_wheels.AUTO, kept.torch.index):
        return NotBuilt(f"its torch is of the index {kept.torch.index}, {own_torch or torch} is asked for", hint=hint)
    python = python_in(folder)
    version = _python_version(python)
    if version != kept.compiler:
        told = f"it was made for {kept.compiler} and has {version or 'no interpreter that starts'}"
        return NotBuilt(told, hint=hint)
    return Built(worker_command(python, kept.compiler, framework), kept)


def worker_command(python: Path, version: str, framework: Framework) -> list[str]:
    """The argv of a framework's runner in an interpreter whose `-V` says `version`."""
    # `-P` keeps the folder of the script off the path; Python 3.10 does not know it.
    isolated = ["-P"] if tools.version_numbers(version) >= (3, 11) else []
    return [str(python), *isolated, str(places.PACKAGE / "worker.py"), framework.name]


def build(
    framework: Framework, progress: Progress, variant: Variant | None = None, *, torch: str = torch_wheels.AUTO
) -> Built | NotBuilt:
    """Make the environment anew.

    Args:
        framework: a Python framework.
        progress: told how it goes.
        variant: one with an environment of its own.
        torch: which wheels of torch are asked for: `auto`, `registry`, or an index of PyTorch.

    Raises:
        ArenaError: the artifacts folder cannot be written.
    """
    uv = tools.uv()
    if uv is None:
        return NotBuilt("uv is not installed", hint=tools.GET_UV)
    try:
        version = lockfile.version(framework, variant)
    except ArenaError as error:
        return NotBuilt(error.message, hint=error.hint)
    if obstacle := compiled.obstacle(framework, variant):
        return obstacle
    folder = folder_of(framework, variant)
    # A python finds its packages where it is, scripts do not: the new one is made in its own place, the old one waits.
    before = folder.with_name(f".{folder.name}.before")
    made: Built | NotBuilt | None = None
    try:
        if (before / MARKER).exists() and not (folder / MARKER).exists():
            # A build was killed: what worked before it still waits.
            _remove(folder)
        else:
            _remove(before)
            if folder.exists():
                folder.rename(before)
        made = _Making(framework, variant, uv, version, torch, progress).make()
        return made
    except OSError as error:
        raise ArenaError(f"{folder}: cannot be made: {error}", hint="is the disk full?", exit_code=1) from error
    finally:
        if not isinstance(made, Built):
            _remove(folder)
            if (before / MARKER).exists():
                before.rename(folder)
        _remove(before)


class _Failed(Exception):
    """A stage did not succeed."""

    def __init__(self, failure: NotBuilt) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass(frozen=True)
class _Making:
    """One environment in the making."""

    framework: Framework
    variant: Variant | None
    uv: str
    version: str
    torch: str
    progress: Progress

    @property
    def folder(self) -> Path:
        return folder_of(self.framework, self.variant)

    @property
    def log(self) -> Path:
        return log_of(name_of(self.framework, self.variant))

    def make(self) -> Built | NotBuilt:
        started = datetime.datetime.now(datetime.timezone.utc)
        clock = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = lockfile.path_of(self.framework, self.variant)
        try:
            interpreter = _interpreter(self.framework)
            self._uv("creating the environment", 0, ["venv", "--no-project", "--python", interpreter, str(self.folder)])
            torch = self._install(lock)
        except _Failed as failed:
            _remove(self.folder)
            return failed.failure
        except ArenaError as error:
            _remove(self.folder)
            return NotBuilt(error.message, hint=error.hint)
        self.progress.step("measuring its size", STAGES - 1, STAGES)
        compiler = _python_version(python_in(self.folder))
        if compiler is None:
            _remove(self.folder)
            words = process.tail(self.log)
            return NotBuilt("the interpreter of the new environment does not start", log=self.log, log_tail=words)
        made = BuildRecord(
            schema=record.SCHEMA,
            framework=self.framework.name,
            version=self.version,
            features=[],
            source_sha256=_source_sha256(self.framework, self.variant),
            lock_sha256=record.sha256_of(lock),
            compiler=compiler,
            seconds=round(time.monotonic() - clock, 3),
            bytes=bytes_of(self.folder),
            executable_sha256=None,
            started=started.isoformat(timespec="seconds"),
            torch=torch,
        )
        record.write(self.folder / MARKER, made)
        return state(self.framework, self.variant)

    def _install(self, lock: Path) -> TorchWheels | None:
        """Everything in the lock, checked by its hashes; which torch that was."""
        text = lock.read_text(encoding="utf-8")
        if not torch_wheels.holds_torch(text):
            self._sync(lock, [])
            return None
        self.progress.step("choosing a build of torch", 1, STAGES)
        choice = torch_wheels.choose(self.torch, self.variant)
        self.progress.note(f"{name_of(self.framework, self.variant)}: torch of the index {choice.index}: {choice.why}")
        if choice.index == torch_wheels.REGISTRY:
            self._sync(lock, [])
            return torch_wheels.installed(choice, text)
        with tempfile.TemporaryDirectory(prefix="arena-torch-") as scratch:
            packages = Path(scratch) / "packages.txt"
            packages.write_text(torch_wheels.merged(text, self._resolved(Path(scratch), choice, text)))
            self._sync(packages, choice.arguments)
            return torch_wheels.installed(choice, packages.read_text())

    def _resolved(self, scratch: Path, choice: torch_wheels.Choice, lock: str) -> str:
        """The requirements with torch from another index, other versions as in the lock, with hashes."""
        constraints, resolved = scratch / "constraints.txt", scratch / "resolved.txt"
        constraints.write_text("".join(f"{pin['name']}=={pin['version']}\n" for pin, _ in lockfile.entries(lock)))
        command = ["pip", "compile", "-", "--python", str(python_in(self.folder)), "--constraint", str(constraints)]
        command += ["--generate-hashes", "--no-header", "--no-annotate", *choice.arguments, "-o", str(resolved)]
        requirements = "\n".join(self.framework.pins(self.variant)).encode()
        self._uv(f"resolving torch of the index {choice.index}", 1, command, stdin=requirements)
        return resolved.read_text(encoding="utf-8")

    def _sync(self, packages: Path, torch: list[str]) -> None:
        command = ["pip", "sync", "--python", str(python_in(self.folder)), "--require-hashes", "--compile-bytecode"]
        command += [*torch, *compiled.arguments(self.framework, self.variant), str(packages)]
        self._uv("installing packages", 1, command)

    def _uv(self, what: str, done: int, command: list[str], stdin: bytes = b"") -> None:
        """Run uv, from its cache alone where that suffices.

        Raises:
            _Failed: it did not succeed.
        """
        self.progress.step(what, done, STAGES)
        for network in ({"UV_OFFLINE": "1"}, {}):
            self.log.write_bytes(b"")
            code = process.run(
                [self.uv, *command],
                cwd=places.artifacts(),
                log=self.log,
                environment={torch_wheels.VARIABLE: None, **self._compiling, **network},
                stdin=stdin,
                on_tick=partial(self._tick, what, done),
            )
            if code == 0:
                return
            words = process.tail(self.log)
            if not OFFLINE.search("\n".join(words)):
                break
        raise _Failed(NotBuilt(f"uv failed while {what}", hint=advice.for_log(words), log=self.log, log_tail=words))

    @property
    def _compiling(self) -> dict[str, str]:
        return compiled.ENVIRONMENT if self.framework.compiling(self.variant) else {}

    def _tick(self, what: str, done: int, elapsed_s: float) -> None:
        """Time passes; where something is compiled, say how far that is."""
        if self._compiling and (counted := compiled.counted(self.log)):
            self.progress.step(f"{what}: compiling, {counted}", done, STAGES)
        self.progress.tick(elapsed_s)


def _interpreter(framework: Framework) -> str:
    """The driver's own Python when it is new enough, else any that uv finds or fetches."""
    oldest = tools.version_numbers(framework.python)
    return sys.executable if sys.version_info[:2] >= oldest[:2] else f">={framework.python}"


def _python_version(python: Path) -> str | None:
    said = process.output([str(python), "-I", "-V"])
    return said.strip() if said else None


def _source_sha256(framework: Framework, variant: Variant | None) -> str:
    told = ["=".join(setting) for setting in compiled.settings(framework, variant)]
    recipe = [framework.python, *framework.pins(variant), *told]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()


def _selector(framework: Framework, variant: Variant | None) -> str:
    return f"{framework.name}:{variant.name}" if variant else framework.name


def _remove(folder: Path) -> None:
    """Remove an environment, its record first, so that what remains of an interrupted removal is not trusted."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
