"""The graphs that were exported, kept in `artifacts/graphs` by a hash of all that they depend on.

A folder there is written beside its place and renamed; its record holds the hashes of its files, which are checked
whenever they are used, so that what is damaged or half there is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from arena_py import places
from arena_py.contract.adapter import RunnerError
from arena_py.contract.messages import UNREADABLE
from arena_py.errors import ArenaError
from arena_py.frameworks.onnx.spec import Graph, GraphSpec, Refusal
from arena_py.verify.files import made_once, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("export.py")
SOURCES = (
    "architectures/*.py",
    "models/*.py",
    *(f"frameworks/onnx/{name}.py" for name in ("constants", "export", "gradients", "spec", "tracing", "updates")),
)
"""The modules of the package that a graph depends on."""
GRAPH, TABLE, RECORD = "graph.onnx", "graph.json", "record.json"
PYTHON_VARIABLE, CACHE_VARIABLE = "ARENA_ONNX_EXPORTER", "ARENA_ONNX_GRAPHS"
"""The exporter's interpreter, and the folder of graphs, where they are not in Arena's own places."""


class Kept(msgspec.Struct, frozen=True):
    """A folder of the cache."""

    folder: Path
    table: Graph

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH


def graph(spec: GraphSpec) -> Kept:
    """The graph, exported if it is not there yet.

    Raises:
        RunnerError: the exporter refused the model, or there is no exporter or no room.
    """
    exporter = _exporter()
    folder = _cache() / _key(spec, exporter)

    def made(scratch: Path) -> Kept | None:
        _export(exporter, spec, scratch)
        digests = {name: sha256(scratch / name) for name in (GRAPH, TABLE)}
        (scratch / RECORD).write_bytes(msgspec.json.encode(digests))
        return None

    try:
        kept = made_once(folder, lambda: _read(folder), made) or _read(folder)
    except OSError as error:
        raise RunnerError("internal", f"the graph cannot be kept in {folder}: {error}") from error
    except ArenaError as error:
        raise RunnerError("internal", f"{error.message}: set {CACHE_VARIABLE} to a folder with room") from error
    if kept is None:
        raise RunnerError("internal", f"the graph in {folder} changed while it was written")
    return kept


def optimised(kept: Kept, recipe: str) -> tuple[Path, bool]:
    """Where a graph is, or belongs, that ONNX Runtime optimised by `recipe`; whether it is there, whole."""
    name = f"optimised-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.onnx"
    path = kept.folder / name
    try:
        whole = sha256(path) == path.with_suffix(".sha256").read_text(encoding="ascii")
    except (OSError, ArenaError, UnicodeDecodeError):
        whole = False
    return path, whole


def keep_optimised(made: Path, path: Path) -> None:
    """Put a file that was written beside its place into it, and its hash beside it."""
    digest = sha256(made)
    path.with_suffix(".sha256").unlink(missing_ok=True)
    made.replace(path)
    scratch = made.with_suffix(".sha256")
    scratch.write_text(digest, encoding="ascii")
    scratch.replace(path.with_suffix(".sha256"))


def _read(folder: Path) -> Kept | None:
    try:
        digests = msgspec.json.decode((folder / RECORD).read_bytes(), type=dict[str, str])
        if any(sha256(folder / name) != digests.get(name) for name in (GRAPH, TABLE)):
            return None
        return Kept(folder, msgspec.json.decode((folder / TABLE).read_bytes(), type=Graph))
    except (OSError, ArenaError, *UNREADABLE):
        return None


def _export(python: Path, spec: GraphSpec, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        request = Path(scratch) / "spec.json"
        request.write_bytes(msgspec.json.encode(spec))
        try:
            done = subprocess.run(
                [str(python), str(SCRIPT), str(request), str(folder)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                cwd=scratch,
            )
        except OSError as error:
            raise _no_exporter(f"{python} cannot be started: {error.strerror}") from error
    if done.returncode == 0:
        return
    words = done.stderr.decode("utf-8", "replace").strip()
    sys.stderr.write(words + "\n")
    try:
        refusal = msgspec.json.decode(done.stdout, type=Refusal)
    except msgspec.MsgspecError:
        last = words.splitlines()[-1] if words else f"exit code {done.returncode}"
        raise RunnerError("internal", f"the exporter failed on {spec.task} of {spec.architecture}: {last}") from None
    raise RunnerError(refusal.code, refusal.message)


def _exporter() -> Path:
    """The interpreter of the exporter's environment: beside the runner's own, unless a variable names another."""
    if chosen := os.environ.get(PYTHON_VARIABLE):
        python = Path(chosen)
    else:
        folder = _artifacts() / "env" / "onnxruntime-exporter"
        python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        raise _no_exporter(f"{python} does not exist")
    return python


def _no_exporter(why: str) -> RunnerError:
    return RunnerError("unsupported", f"no exporter of graphs: {why}; `python -m arena_py build onnxruntime` makes it")


def _artifacts() -> Path:
    """The artifacts folder that the runner's own environment is in, else the one that Arena would use."""
    above = Path(sys.prefix).parent
    return above.parent if above.name == "env" else places.artifacts()


def _cache() -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).absolute() if chosen else _artifacts() / "graphs"


def _key(spec: GraphSpec, exporter: Path) -> str:
    digest = hashlib.sha256(msgspec.json.encode(spec, order="deterministic"))
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(_versions(exporter).encode())
    return f"{spec.architecture}-{spec.task}-{digest.hexdigest()[:24]}"


def _sources() -> Iterator[Path]:
    for pattern in SOURCES:
        yield from sorted(places.PACKAGE.glob(pattern))


def _versions(exporter: Path) -> str:
    """What is installed beside the exporter's interpreter: the lock of its build, else every package's name."""
    environment = exporter.parent.parent
    try:
        lock: str = json.loads((environment / "arena-build.json").read_bytes())["lock_sha256"]
    except (OSError, ValueError, KeyError):
        return "\n".join(sorted(path.name for path in environment.rglob("*.dist-info")))
    return lock
