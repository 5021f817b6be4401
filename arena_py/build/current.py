"""The interpreter that runs the driver, in place of the environments of Python frameworks (`--python-env current`).

For machines that already have a framework: what is installed there is taken as it is, and the versions found are
recorded and shown. Nothing is built, and what is shipped is not known.
"""

from __future__ import annotations

import contextlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from arena_py.build import environment, lockfile, process, record
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.record import BuildRecord, Place
from arena_py.contract.session import runner_environment
from arena_py.errors import ArenaError
from arena_py.manifest import Framework, Variant

PythonEnv: TypeAlias = Literal["own", "current"]
"""Where Python frameworks run: each in its own environment, or all in the current interpreter."""

_chosen: ContextVar[PythonEnv] = ContextVar("python-env", default="own")
LISTING = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}))"
)


@contextlib.contextmanager
def using(choice: PythonEnv) -> Iterator[None]:
    """Let `locate`, `ensure` and `python_of` mean these environments inside."""
    token = _chosen.set(choice)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen() -> bool:
    """Whether the current interpreter takes the place of environments."""
    return _chosen.get() == "current"


def state(framework: Framework, variant: Variant | None = None) -> Built | NotBuilt:
    """The framework as the current interpreter has it, started in a process of its own."""
    found = _record(framework, variant, _beside(), "current")
    if isinstance(found, NotBuilt):
        return found
    command = environment.worker_command(Path(sys.executable), found.compiler, framework)
    return Built(command, found)


def in_process(framework: Framework, variant: Variant | None = None) -> Built | NotBuilt:
    """The framework as the driver itself can import it."""
    from importlib import metadata  # noqa: PLC0415 (brings a parser of mail: only where it is asked for)

    here = {lockfile.normal(each.name): each.version for each in metadata.distributions() if each.name}
    found = _record(framework, variant, here, "in-process")
    return found if isinstance(found, NotBuilt) else Built([], found, in_process=framework.name)


def identity(framework: Framework) -> str:
    """What decides the numbers of a framework's environment: the hash of its lock, or the versions found."""
    if not chosen():
        return record.sha256_of(lockfile.path_of(framework))
    found = _record(framework, None, _beside(), "current")
    if isinstance(found, NotBuilt):
        raise ArenaError(f"{framework.name}: {found.reason}", hint=found.hint, exit_code=1)
    return json.dumps(found.packages, sort_keys=True)


def _record(
    framework: Framework, variant: Variant | None, installed: Mapping[str, str], place: Place
) -> BuildRecord | NotBuilt:
    pins = framework.pins(variant)
    wanted = [pin["name"] for pin in map(lockfile.PIN.match, pins) if pin]
    missing = [name for name in wanted if lockfile.normal(name) not in installed]
    if missing or not wanted:
        return NotBuilt(
            f"the current interpreter ({sys.executable}) has no {', '.join(missing)}",
            hint=f"{sys.executable} -m pip install {' '.join(pins)}",
            place=place,
        )
    packages = {name: installed[lockfile.normal(name)] for name in wanted}
    return BuildRecord(
        schema=record.SCHEMA,
        framework=framework.name,
        version=packages[wanted[0]],
        features=[],
        compiler=f"Python {platform.python_version()}",
        executable_sha256=None,
        place=place,
        packages=packages,
    )


@cache
def _beside() -> dict[str, str]:
    """Every distribution that a process of this interpreter finds, started as a runner is: no `PYTHONPATH`."""
    said = process.output([sys.executable, "-c", LISTING], environment=runner_environment(1, {}))
    found: dict[str, str] = json.loads(said) if said else {}
    return {lockfile.normal(name): version for name, version in found.items()}
