"""Asks PyTorch's environment for what needs the canonical model: seeded weights, inputs, parameter names.

The driver imports no ML framework; `models/generate.py` runs in a process of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from arena_py import places, scratch
from arena_py.build import python_of
from arena_py.contract import warden
from arena_py.errors import ArenaError

SCRIPT = places.PACKAGE / "models" / "generate.py"


class Spec(msgspec.Struct, frozen=True):
    """What to generate for."""

    architecture: str
    config: dict[str, Any]
    shapes: dict[str, int]
    seed: int


@cache
def source_hash() -> str:
    """A hash over the sources that weights, inputs and the reference depend on."""
    digest = hashlib.sha256()
    canonical = [places.PACKAGE / "frameworks" / f"{name}.py" for name in ("pytorch", "reference", "torch_programs")]
    folders = [places.PACKAGE / name for name in ("architectures", "models")]
    for path in [*(path for folder in folders for path in sorted(folder.glob("*.py"))), *canonical]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def weights(spec: Spec, output: Path) -> None:
    """Write seeded weights."""
    _run("weights", spec, output)


def inputs(spec: Spec, *outputs: Path) -> None:
    """Write seeded inputs, those of `train` included; each file from the next seed."""
    _run("inputs", spec, *outputs)


def rest() -> None:
    """End the process that generates, if there is one; the next request starts another."""
    _Process.rest()


def _run(what: str, spec: Spec, *outputs: Path) -> None:
    with scratch.folder() as folder:
        request = folder / "spec.json"
        request.write_bytes(msgspec.json.encode(spec))
        answer = _Process.current().ask([what, str(request), *map(str, outputs)])
    if answer != "ok":
        raise ArenaError(
            f"{what} of {spec.architecture} cannot be made: {answer.removeprefix('error: ')}",
            hint="check the model's manifest; `python -m arena_py build pytorch` rebuilds the environment",
        )


class _Process:
    """`generate.py serve`, kept between requests: starting torch takes longer than drawing a tiny model's numbers."""

    _running: ClassVar[_Process | None] = None

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._guard = contextlib.ExitStack()
        self._process = subprocess.Popen(
            [str(python_of("pytorch")), str(SCRIPT), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._guard.enter_context(warden.over(self._process.pid))

    @classmethod
    def current(cls) -> _Process:
        """The one that runs, or a new one."""
        if cls._running is None:
            cls._running = cls()
            atexit.register(cls.rest)
        return cls._running

    @classmethod
    def rest(cls) -> None:
        """End it."""
        if cls._running is not None:
            cls._running._process.kill()
            cls._running._process.communicate()
            cls._running._guard.close()
            cls._running._log.close()
            cls._running = None
            atexit.unregister(cls.rest)

    def ask(self, arguments: list[str]) -> str:
        """Its answer, or its last words when it died of the request."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(msgspec.json.encode(arguments) + b"\n")
            self._process.stdin.flush()
            if answer := self._process.stdout.readline():
                return answer.decode(errors="replace").strip()
        except OSError:
            pass  # it is gone: what it said last is the reason
        except BaseException:
            self.rest()  # interrupted: its answer must not be taken for that of the next request
            raise
        self._process.wait()
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip().splitlines()
        self.rest()
        return words[-1] if words else "killed"
