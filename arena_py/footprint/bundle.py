"""An archive that runs a model with nothing else: written, and read again.

A `.tar.zst` of the files of a `Layout`, the model's files, `bundle.json`, and a script `run`, which executes the model
once on the inputs that are in it.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from arena_py.contract import messages as m
from arena_py.errors import ArenaError
from arena_py.footprint.document import Opened
from arena_py.footprint.layout import HERE, Layout
from arena_py.manifest import GateLimits
from arena_py.measure.process import Runner
from arena_py.verify.exercise import Exercise

SCHEMA = 1
SUFFIX = ".tar.zst"
LEVEL = 12
"""Of zstd: weights do not get smaller, and what is compiled gains 3 % from there to 19 for ten times the time."""
MANIFEST = "bundle.json"
WEIGHTS, INPUTS, EXPECTED = "model/weights.safetensors", "model/inputs.safetensors", "model/expected.safetensors"
REQUESTS = "model/requests.jsonl"
RUN = """#!/bin/sh
# Runs the model once on model/inputs.safetensors and writes outputs.safetensors here; with arguments (`serve`,
# `describe`) it is the runner itself.
set -e
here=$(cd "$(dirname "$0")" && pwd)
{exports}
cd "$here"
[ $# -gt 0 ] && exec {command} "$@"
exec {command} serve < {requests}
"""


class BundledFile(msgspec.Struct, frozen=True):
    """A file of a bundle, by content."""

    bytes: int
    sha256: str


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle.json`."""

    schema: int
    label: str
    version: str
    case: str
    command: list[str]
    """`{here}` is where it was unpacked; `serve` is appended."""
    environment: dict[str, str]
    threads: int
    model: m.ModelSpec
    task: m.TaskName
    options: m.TaskOptions
    backend: str
    precision: m.Precision
    boundary: m.BoundaryName
    noise: dict[str, float]
    limits: GateLimits
    traced_by: str
    """What watched the execution that its files were chosen by."""
    files: dict[str, BundledFile]

    def exercise(self, folder: Path) -> Exercise:
        """What it executes, where it was unpacked into `folder`."""
        return Exercise(
            model=self.model,
            weights=folder / WEIGHTS,
            task=self.task,
            options=self.options,
            inputs=folder / INPUTS,
            later_inputs=[],
            backend=self.backend,
            precision=self.precision,
            boundary=self.boundary,
        )

    def bytes_below(self, *folders: str) -> int:
        """Unpacked bytes of files in these folders."""
        return sum(each.bytes for name, each in self.files.items() if PurePosixPath(name).parts[0] in folders)


def write(output: Path, layout: Layout, runner: Runner, exercise: Exercise, opened: Opened) -> Bundle:
    """Write the archive; its manifest.

    Args:
        output: ends in `.tar.zst`; replaced.
        layout: the program's files.
        runner: what is bundled.
        exercise: what it executes, on the model's own files.
        opened: what watched.

    Raises:
        ArenaError: it cannot be written.
    """
    files: dict[str, Path | bytes] = {**layout.files, **layout.written}
    files |= {WEIGHTS: exercise.weights, INPUTS: exercise.inputs, EXPECTED: runner.files.expected}
    inside = msgspec.structs.replace(exercise, weights=Path(WEIGHTS), inputs=Path(INPUTS), later_inputs=[])
    variables = {**_settings(runner), **layout.environment}
    files[REQUESTS] = b"".join(line + b"\n" for line in _requests(inside, runner.threads))
    files["run"] = _script(layout.command, variables)
    made = Bundle(
        schema=SCHEMA,
        label=runner.label,
        version=runner.built.record.version,
        case=runner.files.case.name,
        command=layout.command,
        environment=variables,
        threads=runner.threads,
        model=exercise.model,
        task=exercise.task,
        options=exercise.options,
        backend=exercise.backend,
        precision=exercise.precision,
        boundary=exercise.boundary,
        noise=runner.files.noise_in(runner.candidate.variant.precision),
        limits=runner.limits,
        traced_by=opened.how,
        files={name: _facts(content) for name, content in sorted(files.items())},
    )
    manifest = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    scratch = output.with_name(f".{output.name}.part")
    try:
        _archive(scratch, {MANIFEST: manifest, **dict(sorted(files.items()))})
        scratch.replace(output)
    except OSError as error:
        raise ArenaError(f"{output}: cannot be written: {error.strerror or error}", exit_code=1) from error
    finally:
        scratch.unlink(missing_ok=True)
    return made


def unpack(archive: Path, folder: Path) -> Bundle:
    """Unpack an archive and check every file against its manifest.

    Raises:
        ArenaError: no bundle, or one that was damaged.
    """
    import zstandard  # noqa: PLC0415 (only here)

    if not hasattr(tarfile, "data_filter"):
        raise ArenaError("this Python unpacks archives without checks", hint="use Python 3.11.4 or newer", exit_code=1)
    try:
        with (
            archive.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            tar.extractall(folder, filter="data")
        made = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Bundle)
    except OSError as error:
        raise ArenaError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error
    except (zstandard.ZstdError, tarfile.TarError, msgspec.MsgspecError, EOFError) as error:
        raise ArenaError(
            f"{archive}: not a bundle: {error}", hint="python -m arena_py bundle VARIANT -o FILE"
        ) from error
    if made.schema != SCHEMA:
        raise ArenaError(f"{archive}: schema {made.schema}, this arena reads {SCHEMA}")
    for name, facts in made.files.items():
        path = folder / name
        if not path.is_file() or _facts(path) != facts:
            raise ArenaError(f"{archive}: {name} is not what its manifest tells of", exit_code=1)
    return made


def _settings(runner: Runner) -> dict[str, str]:
    from arena_py.contract.conditions import settings  # noqa: PLC0415 (only here)

    return settings(runner.threads, runner.candidate.variant.environment)


def _requests(exercise: Exercise, threads: int) -> Iterator[bytes]:
    yield msgspec.json.encode(
        m.Load(
            id=1,
            model=exercise.model,
            weights=str(exercise.weights),
            backend=exercise.backend,
            precision=exercise.precision,
            threads=threads,
        )
    )
    yield msgspec.json.encode(
        m.Prepare(id=2, task=exercise.task, inputs=str(exercise.inputs), options=exercise.options)
    )
    yield msgspec.json.encode(m.Outputs(id=3, path="outputs.safetensors", names=None))
    yield msgspec.json.encode(m.Shutdown(id=4))


def _script(command: list[str], variables: dict[str, str]) -> bytes:
    def quoted(text: str) -> str:
        return "/".join('"$here"' if part == HERE else shlex.quote(part) if part else "" for part in text.split("/"))

    exports = "\n".join(f"export {name}={':'.join(map(quoted, value.split(':')))}" for name, value in variables.items())
    text = RUN.format(exports=exports, command=" ".join(map(quoted, command)), requests=REQUESTS)
    return text.encode()


def _facts(content: Path | bytes) -> BundledFile:
    if isinstance(content, bytes):
        return BundledFile(len(content), hashlib.sha256(content).hexdigest())
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file)
    return BundledFile(content.stat().st_size, digest.hexdigest())


def _digest(file: Any) -> Any:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest


def _archive(path: Path, files: dict[str, Path | bytes]) -> None:
    import zstandard  # noqa: PLC0415 (as above)

    compressor = zstandard.ZstdCompressor(level=LEVEL, threads=-1)
    with (
        path.open("wb") as file,
        compressor.stream_writer(file) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size, entry.mode = len(content), 0o755 if name == "run" else 0o644
                tar.addfile(entry, io.BytesIO(content))
                continue
            facts = content.stat()
            # Python believes a compiled module by the time of its source, in whole seconds.
            entry.size, entry.mtime = facts.st_size, int(facts.st_mtime)
            entry.mode = 0o755 if facts.st_mode & 0o111 else 0o644
            with content.open("rb") as source:
                tar.addfile(entry, source)
