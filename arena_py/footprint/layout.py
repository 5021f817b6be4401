"""Where each file of a bundle goes: taken from where an execution found it, to a place of its own in the archive.

`bin/` or `python/` the program, `lib/` the dynamic loader and every library of the system, `model/` weights, inputs and
the reference's outputs. A bundle is started through its own loader, so nothing of the system below it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from arena_py import places
from arena_py.build import environment as environments
from arena_py.errors import ArenaError
from arena_py.footprint import elf, libraries, runtime
from arena_py.footprint.elf import Elf, Unreadable
from arena_py.footprint.trace import Trace
from arena_py.measure.process import Runner

HERE = "{here}"
"""In commands and variables: where the bundle was unpacked."""
ICD_FOLDER = "icd.d"


@dataclass
class Layout:
    """The files of a program, and how it is started from them."""

    files: dict[str, Path] = field(default_factory=dict)
    """By place in the bundle."""
    written: dict[str, bytes] = field(default_factory=dict)
    """What is not a copy of a file."""
    command: list[str] = field(default_factory=list)
    """Its argv without `serve`."""
    environment: dict[str, str] = field(default_factory=dict)

    def put(self, place: str, path: Path) -> None:
        """Take a file along.

        Raises:
            ArenaError: another one has its place.
        """
        known = self.files.setdefault(place, path)
        if known.resolve() != path.resolve() and known.read_bytes() != path.read_bytes():
            raise ArenaError(f"{path} and {known} would both be {place} of the bundle", exit_code=1)


def of(runner: Runner, trace: Trace) -> Layout:
    """The layout of a variant.

    Args:
        runner: what is bundled.
        trace: what one execution of it opened.

    Raises:
        ArenaError: something that it needs is not found.
    """
    layout = Layout()
    try:
        if runner.candidate.framework.language == "python":
            _python(layout, runner, trace)
        else:
            _executable(layout, Path(runner.built.command[0]), trace)
    except Unreadable as error:
        raise ArenaError(f"{runner.label} cannot be bundled: {error}", exit_code=1) from error
    return layout


def _executable(layout: Layout, path: Path, trace: Trace) -> None:
    found = elf.read(path)
    layout.put(f"bin/{path.name}", path)
    layout.command = [*_loader(layout, found), f"{HERE}/bin/{path.name}"]
    for library in {*_libraries(found), *_shared(trace.opened), *_shared(trace.mapped)}:
        _library(layout, library)
    _drivers(layout, trace)


def _python(layout: Layout, runner: Runner, trace: Trace) -> None:
    framework, variant = runner.candidate.framework, runner.candidate.variant
    behind = runtime.of(Path(runner.built.command[0]))
    if behind is None:
        raise ArenaError(f"{runner.label}: its Python does not start", exit_code=1)
    folder = environments.folder_of(framework, framework.builder(variant)).absolute()
    name = f"python{'.'.join(behind.version.split('.')[:2])}"
    trees = [
        (folder / "lib" / name / "site-packages", f"python/lib/{name}/site-packages"),
        *((stdlib, f"python/lib/{name}") for stdlib in behind.stdlib),
        (places.PACKAGE, "arena_py"),
        *_onnx_trees(layout, runner, trace),
    ]
    found = elf.read(behind.executable)
    layout.put(f"python/bin/{name}", behind.executable)
    wanted = trace.opened | trace.looked_at | set(trace.mapped)
    for path in sorted(wanted):
        if place := _place(path, trees):
            layout.put(place, path)
    for library in {*_libraries(found), *_shared(trace.opened), *_shared(trace.mapped)}:
        if _place(library, trees) is None:
            _library(layout, library)
    arguments = [each for each in runner.built.command[1:] if each.startswith("-")]
    program = f"{HERE}/python/bin/{name}"
    layout.command = [*_loader(layout, found), program, *arguments, f"{HERE}/arena_py/worker.py", framework.name]
    # Not the environment's: its `pyvenv.cfg` names a folder of the machine that it was made on.
    layout.environment |= {"PYTHONHOME": f"{HERE}/python", "PYTHONDONTWRITEBYTECODE": "1"}


def _onnx_trees(layout: Layout, runner: Runner, trace: Trace) -> Iterator[tuple[Path, str]]:
    """ONNX Runtime's graphs, exported before, and what tells that they are those of this exporter."""
    companion = runner.candidate.framework.companion
    if companion is None:
        return
    graphs = {path.parents[1] for path in trace.opened if path.name == "graph.onnx"}
    for folder in graphs:
        yield folder, "graphs"
    yield environments.folder_of(companion).absolute(), "exporter"
    layout.environment |= {
        "ARENA_ONNX_GRAPHS": f"{HERE}/graphs",
        "ARENA_ONNX_EXPORTER": f"{HERE}/exporter/bin/python",
    }


def _place(path: Path, trees: Iterable[tuple[Path, str]]) -> str | None:
    for folder, place in trees:
        for each in dict.fromkeys((path, path.resolve())):
            if each.is_relative_to(folder):
                return str(PurePosixPath(place, each.relative_to(folder).as_posix()))
    return None


def _loader(layout: Layout, found: Elf) -> list[str]:
    if found.interpreter is None:
        return []
    name = Path(found.interpreter).name
    layout.put(f"lib/{name}", Path(found.interpreter))
    return [f"{HERE}/lib/{name}", "--library-path", f"{HERE}/lib"]


def _libraries(found: Elf) -> Iterator[Path]:
    for library in libraries.closure(found):
        if library.path is None:
            raise Unreadable(f"its library {library.name} is not found")
        yield Path(library.path)


def _shared(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if ".so" in path.name:
            try:
                found = elf.read(path)
            except Unreadable:
                continue
            if found.kind == "library":
                yield path


def _library(layout: Layout, path: Path) -> None:
    layout.put(f"lib/{elf.read(path).soname or path.name}", path)


def _drivers(layout: Layout, trace: Trace) -> None:
    """The Vulkan drivers whose library was loaded, with a manifest that names it in the bundle."""
    loaded = {path.resolve().name for path in trace.mapped} | {path.name for path in trace.mapped}
    chosen = []
    for path in sorted(each for each in trace.opened if each.parent.name == ICD_FOLDER and each.suffix == ".json"):
        manifest = json.loads(path.read_text("utf-8"))
        library = Path(manifest["ICD"]["library_path"]).name
        if library in loaded:
            manifest["ICD"]["library_path"] = f"../lib/{library}"
            layout.written[f"vulkan/{path.name}"] = json.dumps(manifest, indent=1).encode()
            chosen.append(f"{HERE}/vulkan/{path.name}")
    if chosen:
        layout.environment["VK_DRIVER_FILES"] = ":".join(chosen)
