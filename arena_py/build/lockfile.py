"""`manifests/frameworks/NAME.lock`: every package of a Python framework's environment, pinned and hashed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arena_py import places
from arena_py.build import process, tools
from arena_py.errors import ArenaError
from arena_py.manifest import Framework, Variant

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def path_of(framework: Framework, variant: Variant | None = None) -> Path:
    """Where the lock is: `NAME.lock`, or `NAME-VARIANT.lock` for a variant with requirements of its own."""
    own = f"-{variant.name}" if variant and variant.requirements else ""
    return places.manifests() / "frameworks" / f"{framework.name}{own}.lock"


def version(framework: Framework, variant: Variant | None = None) -> str:
    """The framework's version according to its lock: that of the first of its requirements.

    Raises:
        ArenaError: no lock, or it lacks one of the manifest's requirements.
    """
    path = path_of(framework, variant)
    hint = f"python -m arena_py build --lock {_selector(framework, variant)}"
    try:
        pinned = {normal(m["name"]): m["version"] for m in PIN.finditer(path.read_text(encoding="utf-8"))}
    except OSError as error:
        raise ArenaError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    versions = []
    for requirement in framework.pins(variant):
        wanted = PIN.match(requirement)
        if wanted is None:
            raise ArenaError(f"{framework.name}.toml: `{requirement}` is not an exact pin like `name==1.2.3`")
        if pinned.get(normal(wanted["name"])) != wanted["version"]:
            raise ArenaError(f"{path}: does not hold {requirement}, which {framework.name}.toml asks for", hint=hint)
        versions.append(wanted["version"])
    if not versions:
        raise ArenaError(f"{framework.name}.toml: a python framework needs the key `requirements`")
    return str(versions[0])


def make(framework: Framework, log: Path, variant: Variant | None = None) -> Path:
    """Resolve the requirements of the framework, or of a variant with its own, anew and replace the lock.

    It is for every platform.

    Raises:
        ArenaError: no uv, no resolution, or a lock that would name an index or an address.
    """
    uv = tools.uv()
    if uv is None:
        raise ArenaError("uv is not installed", hint=tools.GET_UV, exit_code=1)
    path, selector = path_of(framework, variant), _selector(framework, variant)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-lock-") as scratch:
        fresh = Path(scratch) / path.name
        command = [uv, "pip", "compile", "-", "--universal", "--python-version", framework.python, "--generate-hashes"]
        command += ["--no-annotate", "--custom-compile-command", f"python -m arena_py build --lock {selector}"]
        log.unlink(missing_ok=True)
        requirements = "\n".join(framework.pins(variant)).encode()
        code = process.run([*command, "-o", str(fresh)], cwd=Path(scratch), log=log, stdin=requirements)
        if code != 0:
            words = "\n".join(process.tail(log))
            raise ArenaError(f"uv cannot lock {selector}:\n{words}", hint=f"the log is {log}", exit_code=1)
        if re.search(r"^[^#]*(://|--(extra-)?index|--find-links)", fresh.read_text(encoding="utf-8"), re.MULTILINE):
            raise ArenaError(f"the lock of {selector} would name an address", hint="use requirements by name alone")
        fresh.replace(path)
    return path


def _selector(framework: Framework, variant: Variant | None) -> str:
    return f"{framework.name}:{variant.name}" if variant and variant.requirements else framework.name


def entries(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Every package of a lock: its pin, and its lines with their hashes."""
    pins = list(PIN.finditer(text))
    ends = [pin.start() for pin in pins[1:]] + [len(text)]
    for pin, end in zip(pins, ends, strict=True):
        yield pin, text[pin.start() : end]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
