"""`manifests/frameworks/NAME.lock`: every package of a Python framework's environment, pinned and hashed."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from arena_py import places
from arena_py.build import process, tools
from arena_py.errors import ArenaError
from arena_py.manifest import Framework

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def path_of(framework: Framework) -> Path:
    """Where the framework's lock is."""
    return places.manifests() / "frameworks" / f"{framework.name}.lock"


def version(framework: Framework) -> str:
    """The framework's version according to its lock: that of the first of its requirements.

    Raises:
        ArenaError: no lock, or it lacks one of the manifest's requirements.
    """
    path = path_of(framework)
    hint = f"python -m arena_py build --lock {framework.name}"
    try:
        pinned = {_normal(m["name"]): m["version"] for m in PIN.finditer(path.read_text(encoding="utf-8"))}
    except OSError as error:
        raise ArenaError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    versions = []
    for requirement in framework.requirements:
        wanted = PIN.match(requirement)
        if wanted is None:
            raise ArenaError(f"{framework.name}.toml: `{requirement}` is not an exact pin like `name==1.2.3`")
        if pinned.get(_normal(wanted["name"])) != wanted["version"]:
            raise ArenaError(f"{path}: does not hold {requirement}, which {framework.name}.toml asks for", hint=hint)
        versions.append(wanted["version"])
    if not versions:
        raise ArenaError(f"{framework.name}.toml: a python framework needs the key `requirements`")
    return str(versions[0])


def make(framework: Framework, log: Path) -> Path:
    """Resolve the manifest's requirements anew, for every platform, and replace the lock.

    Raises:
        ArenaError: no uv, no resolution, or a lock that would name an index or an address.
    """
    uv = tools.uv()
    if uv is None:
        raise ArenaError("uv is not installed", hint=tools.GET_UV, exit_code=1)
    path = path_of(framework)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{framework.name}-lock-") as scratch:
        fresh = Path(scratch) / path.name
        command = [uv, "pip", "compile", "-", "--universal", "--python-version", framework.python, "--generate-hashes"]
        command += ["--no-annotate", "--custom-compile-command", f"python -m arena_py build --lock {framework.name}"]
        log.unlink(missing_ok=True)
        requirements = "\n".join(framework.requirements).encode()
        code = process.run([*command, "-o", str(fresh)], cwd=Path(scratch), log=log, stdin=requirements)
        if code != 0:
            words = "\n".join(process.tail(log))
            raise ArenaError(f"uv cannot lock {framework.name}:\n{words}", hint=f"the log is {log}", exit_code=1)
        if re.search(r"^[^#]*(://|--(extra-)?index|--find-links)", fresh.read_text(encoding="utf-8"), re.MULTILINE):
            raise ArenaError(
                f"the lock of {framework.name} would name an address", hint="use requirements by name alone"
            )
        fresh.replace(path)
    return path


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
