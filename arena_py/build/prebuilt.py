"""A Rust runner that pip installed: an executable beside the interpreter, asked what it is.

A wheel of a runner (`rust_bins/NAME`, made by maturin) holds its executable and nothing else, so that no cargo is
needed where it is used. Nothing here is a record of its build: what the executable says of itself is taken, and its
hash.
"""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path

from arena_py.build import record
from arena_py.build.describe import describe
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.record import BuildRecord
from arena_py.contract.messages import CONTRACT, Description
from arena_py.manifest import Framework


def state(framework: Framework, name: str) -> Built | NotBuilt | None:
    """The executable of a wheel, or why it cannot be used; none when no wheel of it is installed.

    Args:
        framework: a Rust framework.
        name: the executable's.
    """
    executable = scripts() / name
    if not executable.is_file():
        return None
    wheel = name.removesuffix(".exe")
    hint = f"python -m pip install --upgrade {wheel}"
    try:
        facts = executable.stat()
        found = _described(executable, facts.st_size, facts.st_mtime_ns)
        digest = record.sha256_of(executable)
    except OSError as error:
        return NotBuilt(f"{executable}: cannot be read: {error.strerror}", hint=hint, place="prebuilt")
    if isinstance(found, str):
        return NotBuilt(f"{executable}: {found}", hint=hint, place="prebuilt")
    if found.contract != CONTRACT:
        told = f"{executable} speaks contract {found.contract}, this arena speaks {CONTRACT}"
        return NotBuilt(told, hint=hint, place="prebuilt")
    if (found.framework.name, found.framework.version) != (framework.name, framework.version):
        told = f"{found.framework.name} {found.framework.version}, the manifest asks for {framework.version}"
        return NotBuilt(f"{executable} holds {told}", hint=hint, place="prebuilt")
    kept = BuildRecord(
        schema=record.SCHEMA,
        framework=framework.name,
        version=found.framework.version,
        features=found.build.features,
        compiler=found.build.compiler,
        bytes=facts.st_size,
        executable_sha256=digest,
        place="prebuilt",
    )
    return Built([str(executable)], kept)


def scripts() -> Path:
    """Where pip puts executables for the interpreter that runs the driver."""
    return Path(sysconfig.get_path("scripts"))


@cache
def _described(executable: Path, size: int, modified_ns: int) -> Description | str:  # noqa: ARG001
    """What it says of itself, asked once for as long as the file is the same."""
    return describe([str(executable)], {})
