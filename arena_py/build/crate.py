"""A Rust runner's executable in `artifacts/bin/`, with its record beside it."""

from __future__ import annotations

import datetime
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from arena_py import places, scratch
from arena_py.build import advice, cargo, cuda_toolkit, prebuilt, record, sources, tools
from arena_py.build.cuda_toolkit import CudaToolkit
from arena_py.build.environment import log_of
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.process import tail
from arena_py.build.progress import Progress
from arena_py.build.record import BuildRecord, Toolkit
from arena_py.errors import ArenaError
from arena_py.manifest import Framework, Variant

SUFFIX = ".exe" if sys.platform == "win32" else ""


def executable_of(framework: Framework, variant: Variant | None) -> Path:
    """Where the executable is: `arena-CRATE`, or `arena-CRATE-VARIANT` for a build of its own."""
    own = f"-{variant.name}" if variant else ""
    return places.artifacts() / "bin" / f"arena-{framework.crate}{own}{SUFFIX}"


def record_of(executable: Path) -> Path:
    """The record beside an executable."""
    return executable.with_name(f"{executable.name}.json")


def state(framework: Framework, variant: Variant | None) -> Built | NotBuilt:
    """The executable as it is: whole, and built from these sources by this compiler, or why not.

    Where there is no cargo, the compiler is not asked: an executable that was brought along is as good.
    """
    executable = executable_of(framework, variant)
    selector = f"{framework.name}:{variant.name}" if variant else framework.name
    hint = f"python -m arena_py build {selector}"
    kept = record.read(record_of(executable))
    if kept is None:
        # Only where nothing was built here: what somebody builds is what they mean to measure.
        return prebuilt.state(framework, executable.name) or NotBuilt("not built yet", hint=hint)
    try:
        if record.sha256_of(executable) != kept.executable_sha256:
            return NotBuilt("the executable is not the one that its record tells of", hint=hint)
        changed = _inputs(framework, variant).differ_from(kept)
    except OSError as error:
        return NotBuilt(f"its sources or its executable cannot be read: {error}", hint=hint)
    if changed:
        return NotBuilt(f"{changed} since it was built", hint=hint)
    if kept.toolkit and (other := [each for each in cuda_toolkit.devices() if not _runs_on(kept.toolkit, each)]):
        told = f"its kernels are compiled for compute capability {kept.toolkit.capability}, this machine has {other[0]}"
        return NotBuilt(told, hint=hint)
    return Built([str(executable)], kept)


def _runs_on(toolkit: Toolkit, device: str) -> bool:
    return cuda_toolkit.runs_on(toolkit.capability, device)


def build(framework: Framework, variant: Variant | None, progress: Progress) -> Built | NotBuilt:
    """Build the executable anew; cargo itself reuses what it can.

    Raises:
        ArenaError: the artifacts folder cannot be written.
    """
    tool = tools.cargo()
    if tool is None:
        return NotBuilt("cargo is not installed", hint=tools.GET_CARGO)
    try:
        found = _inputs(framework, variant)
        obstacle = obstacle_of(framework, found.compiler)
    except OSError as error:
        return NotBuilt(f"its sources cannot be read: {error}")
    if obstacle:
        return obstacle
    try:
        return _make(framework, variant, tool, found, progress)
    except OSError as error:
        raise ArenaError(
            f"{executable_of(framework, variant)}: cannot be made: {error}", hint="is the disk full?", exit_code=1
        ) from error


def obstacle_of(framework: Framework, compiler: str | None) -> NotBuilt | None:
    """What stands in the way of building it with this compiler, known before cargo is started.

    Args:
        framework: a Rust framework.
        compiler: what `rustc -V` says; none when there is none.

    Raises:
        OSError: the crate's files cannot be read.
    """
    assert framework.crate is not None
    folder = sources.folder_of(framework.crate)
    if not (folder / "Cargo.toml").is_file():
        return NotBuilt(f"there are no sources in {folder}", hint=f"`crate` in {framework.name}.toml names the folder")
    if compiler is None:
        return NotBuilt("there is no rustc that starts", hint=tools.GET_CARGO)
    oldest = sources.needed_rust(framework.crate)
    if oldest and tools.version_numbers(compiler) < tools.version_numbers(oldest):
        return NotBuilt(f"needs rustc {oldest}, found {compiler}", hint="rustup update stable")
    version = sources.locked_version(framework.crate, framework.name)
    if version != framework.version:
        told = f"its Cargo.lock has {version}" if version else "its Cargo.lock does not have it"
        return NotBuilt(
            f"{framework.name}.toml asks for version {framework.version}, {told}",
            hint=f"make {folder / 'Cargo.toml'} pin the same version",
        )
    return None


@dataclass(frozen=True)
class _Inputs:
    """Everything that decides what the executable is."""

    features: list[str]
    profile: str
    rustflags: list[str]
    source_sha256: str
    lock_sha256: str
    compiler: str | None

    def differ_from(self, kept: BuildRecord) -> str | None:
        """What changed, in words; none when cargo would make the same again."""
        changes = {
            "Cargo.lock changed": self.lock_sha256 != kept.lock_sha256,
            "its sources or cargo's settings changed": self.source_sha256 != kept.source_sha256,
            "its cargo features changed": self.features != kept.features,
            "its cargo profile changed": self.profile != kept.profile,
            "its compiler flags changed": self.rustflags != kept.rustflags,
            f"the compiler became {self.compiler}": self.compiler not in (None, kept.compiler),
        }
        return next((what for what, changed in changes.items() if changed), None)


def _inputs(framework: Framework, variant: Variant | None) -> _Inputs:
    assert framework.crate is not None
    folder = sources.folder_of(framework.crate)
    return _Inputs(
        features=sorted(variant.features) if variant else [],
        profile=(variant and variant.profile) or "release",
        rustflags=list(variant.rustflags) if variant else [],
        source_sha256=sources.source_sha256(framework.crate),
        lock_sha256=record.sha256_of(folder / "Cargo.lock"),
        compiler=tools.rustc_version(folder) if tools.cargo() else None,
    )


def _make(
    framework: Framework, variant: Variant | None, tool: str, found: _Inputs, progress: Progress
) -> Built | NotBuilt:
    assert framework.crate is not None
    assert found.compiler is not None
    name = f"{framework.name}-{variant.name}" if variant else framework.name
    log = log_of(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    started = datetime.datetime.now(datetime.timezone.utc)
    clock = time.monotonic()
    toolkit: CudaToolkit | None = None
    built_for = ("", "")
    if variant is not None and variant.toolkit == "cuda":
        having = cuda_toolkit.ensure(progress, log)
        if isinstance(having, NotBuilt):
            return having
        toolkit, built_for = having, cuda_toolkit.capability(variant.compute_capability)
        progress.note(f"{name}: CUDA {toolkit.release} ({toolkit.why}), for {built_for[0]} ({built_for[1]})")
    made = cargo.build(
        tool,
        sources.folder_of(framework.crate),
        binary=f"arena-{framework.crate}",
        features=found.features,
        profile=found.profile,
        rustflags=found.rustflags,
        target=places.cargo_target(framework.crate, variant.name if variant else None),
        log=log,
        step=progress.step,
        tick=progress.tick,
        environment=toolkit.environment(built_for[0]) if toolkit else {},
    )
    if made is None:
        words = tail(log)
        return NotBuilt("cargo failed", hint=advice.for_log(words), log=log, log_tail=words)
    executable = executable_of(framework, variant)
    _place(made, executable)
    kept = BuildRecord(
        schema=record.SCHEMA,
        framework=framework.name,
        version=framework.version,
        features=found.features,
        profile=found.profile,
        rustflags=found.rustflags,
        toolkit=Toolkit(name="cuda", release=toolkit.release, why=toolkit.why, capability=built_for[0])
        if toolkit
        else None,
        source_sha256=found.source_sha256,
        lock_sha256=found.lock_sha256,
        compiler=found.compiler,
        seconds=round(time.monotonic() - clock, 3),
        bytes=executable.stat().st_size,
        executable_sha256=record.sha256_of(executable),
        started=started.isoformat(timespec="seconds"),
    )
    record.write(record_of(executable), kept)
    if changed := _inputs(framework, variant).differ_from(kept):
        return NotBuilt(f"{changed} while it was being built", hint="build it again")
    return Built([str(executable)], kept)


def _place(made: Path, executable: Path) -> None:
    """Copy cargo's executable to its place whole or not at all; cargo's own stays, so that it knows it is current."""
    executable.parent.mkdir(parents=True, exist_ok=True)
    with scratch.replacing(executable, 0o755) as unfinished:
        shutil.copyfile(made, unfinished)
