"""One entry of an audit: an executable or an environment taken apart, executed, started and weighed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from arena_py.build import environment as environments
from arena_py.contract.session import RunnerFailed
from arena_py.footprint import cpu_level, crates, distributions, elf, memory, runtime, startup, takeapart
from arena_py.footprint.document import Entry, Library, TaskMemory
from arena_py.footprint.elf import Elf, Unreadable
from arena_py.footprint.progress import Progress, Silent
from arena_py.footprint.size import bytes_of
from arena_py.footprint.subject import Subject
from arena_py.footprint.trace import Trace
from arena_py.measure.process import Runner
from arena_py.verify import gate

MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
"""As Python calls this machine, and as an ELF file does."""


def of_path(path: Path) -> Entry:
    """An executable or an environment by its path: taken apart, never started. What cannot be read says so."""
    label = path.name or str(path)
    try:
        if path.is_dir():
            contents = distributions.read(path)
            behind = runtime.of(environments.python_in(contents.folder))
            entry = Entry(label=label, kind="environment", status="ok", notes=["only read, not executed"])
            return _with_contents(entry, contents, [], behind, None)
        found = elf.read(path, symbols=True)
        made = takeapart.executable(found, cpu_level.of_file(found))
    except Unreadable as error:
        return Entry(label=label, kind="unknown", status="unreadable", reason=str(error))
    entry = Entry(label=label, kind="executable", status="ok", executable=made, notes=["only read, not executed"])
    here = MACHINES.get(platform.machine().lower(), platform.machine())
    if found.machine != here:
        return replace(entry, status="unavailable", reason=f"it is for {found.machine}, this machine is {here}")
    return entry


def of_variant(
    runner: Runner,
    *,
    tasks: Iterable[Runner] = (),
    launches: int,
    budget_s: float | None = None,
    symbols: Path | None = None,
    progress: Progress | None = None,
) -> Entry:
    """A built variant.

    Args:
        runner: on the model's smallest input.
        tasks: the same on other cases, whose memory is wanted.
        launches: of each start-up, cold and warm; none at 0.
        budget_s: seconds that all launches may take.
        symbols: the same executable with its symbols.
        progress: told what is being done.
    """
    progress = progress or Silent()
    python = runner.candidate.framework.language == "python"
    entry = Entry(
        label=runner.label,
        kind="environment" if python else "executable",
        status="ok",
        version=runner.built.record.version,
        build=runner.built.record,
        weights_bytes=runner.files.weights.stat().st_size,
    )
    subject, trace = Subject(runner), None
    progress.note("executing it twice, the second time watched")
    try:
        # What only a first execution does (export a graph, fill a cache of kernels) is not what it needs.
        subject.launch()
        trace, verification = subject.watched()
        entry = replace(entry, verification=verification)
        if wrong := gate.reason(verification):
            entry = replace(entry, status="wrong", reason=wrong)
    except RunnerFailed as error:
        entry = replace(entry, status=error.status, reason=error.reason)
    progress.note("taking it apart")
    try:
        entry = _python(entry, runner, trace) if python else _rust(entry, runner, trace, symbols)
    except Unreadable as error:
        return replace(entry, kind="unknown", status="unreadable", reason=str(error))
    if entry.status == "ok" and trace is not None and launches:
        progress.note(f"starting it {launches} times cold and {launches} times warm")
        entry = _started(entry, subject, trace, launches, budget_s=budget_s, progress=progress)
    return replace(entry, memory=list(_memory(entry, tasks, progress)))


def _rust(entry: Entry, runner: Runner, trace: Trace | None, symbols: Path | None) -> Entry:
    crate = runner.candidate.framework.crate
    assert crate is not None
    found = elf.read(Path(runner.built.command[0]), symbols=True)
    named: Elf | None = elf.read(symbols, symbols=True) if symbols else None
    made = takeapart.executable(found, cpu_level.of_crate(found, crate), named)
    entry = replace(entry, executable=made)
    if trace is not None:
        entry = replace(entry, opened=takeapart.opened(trace, _with_loader(made.libraries, found), None))
    graph = crates.of(crate, runner.built.record.features)
    if isinstance(graph, str):
        return replace(entry, notes=[*entry.notes, f"its crates are not known: {graph}"])
    return replace(entry, components=graph.linked, build_only=graph.build_only)


def _python(entry: Entry, runner: Runner, trace: Trace | None) -> Entry:
    framework, variant = runner.candidate.framework, runner.candidate.variant
    own = variant if variant.own_build else None
    contents = distributions.read(environments.folder_of(framework, own))
    behind = runtime.of(Path(runner.built.command[0]))
    made = _with_contents(entry, contents, framework.pins(own), behind, trace)
    companion = framework.companion
    if companion is not None and made.environment is not None:
        folder = environments.folder_of(companion)
        beside = {companion.name: bytes_of(folder)} if folder.is_dir() else {}
        made = replace(made, environment=replace(made.environment, beside=beside))
    return made


def _with_contents(
    entry: Entry,
    contents: distributions.Contents,
    requirements: list[str],
    behind: runtime.Python | None,
    trace: Trace | None,
) -> Entry:
    python = behind.version if behind else platform.python_version()
    taken = trace.opened if trace else None
    notes = [f"{name} has no RECORD: its files are counted as nobody's" for name in _unrecorded(contents)]
    if not contents.installed:
        notes.append("no distribution is installed in it")
    if behind is None:
        notes.append("its Python does not start: what it was made from is not known")
    return replace(
        entry,
        environment=takeapart.environment(
            contents,
            requirements,
            python,
            runtime=behind.measured(taken) if behind else None,
            opened=taken,
        ),
        opened=takeapart.opened(trace, [], contents.folder) if trace else None,
        components=takeapart.components(contents.installed, python),
        notes=[*entry.notes, *notes],
    )


def _unrecorded(contents: distributions.Contents) -> list[str]:
    return [name for name, each in contents.installed.items() if not each.recorded]


def _with_loader(libraries: list[Library], found: Elf) -> list[Library]:
    loader = Library(name="", path=found.interpreter, bytes=None)
    return [*libraries, loader] if found.interpreter else libraries


def _started(
    entry: Entry, subject: Subject, trace: Trace, launches: int, *, budget_s: float | None, progress: Progress
) -> Entry:
    files = subject.runner.files
    paths = trace.opened | set(trace.mapped) | {files.weights, *files.later_inputs}
    try:
        found = startup.measure(subject, files.case.name, paths, launches, budget_s=budget_s, step=progress.step)
    except RunnerFailed as error:
        return replace(entry, status=error.status, reason=f"started again: {error.reason}")
    return replace(entry, startup=found)


def _memory(entry: Entry, tasks: Iterable[Runner], progress: Progress) -> Iterable[TaskMemory]:
    for other in tasks if entry.status == "ok" else ():
        progress.note(f"memory of {other.files.case.task}")
        yield memory.measure(other)
