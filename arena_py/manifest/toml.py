"""Reading one TOML file into a strict type."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from arena_py import places
from arena_py.errors import ArenaError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=msgspec.Struct)

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$(?!\n)")]
"""What becomes part of a path or a command: no separator, no option, nothing hidden."""


def names(folder: str) -> list[str]:
    """The manifests of one folder (`models`, `frameworks`, `suites`), sorted."""
    return sorted(path.stem for path in (places.manifests() / folder).glob("*.toml"))


def find(folder: str, name: str) -> Path:
    """The manifest called `name`, or the path that the user wrote when it ends in `.toml`.

    Raises:
        ArenaError: there is no such manifest; the hint lists what there is, closest first.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if path.is_file():
            return path
        raise ArenaError(f"no such manifest: {name}")
    known = names(folder)
    if name in known:
        return places.manifests() / folder / f"{name}.toml"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ArenaError(f"unknown {folder.removesuffix('s')}: {name}", hint=f"{hint}known: {', '.join(known)}")


def read(path: Path, type_: type[T]) -> T:
    """Decode a TOML file strictly: an unknown key, a missing one or a wrong type is an error that names it.

    Raises:
        ArenaError: unreadable, not TOML, or not of the type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArenaError(f"{path}: cannot be read: {error}") from error
    except RecursionError as error:
        raise ArenaError(f"{path}: not TOML: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise ArenaError(f"{path}: not TOML: {error}") from error
    try:
        return msgspec.convert(table, type_, strict=True)
    except msgspec.ValidationError as error:
        raise ArenaError(f"{path}: {error}", hint="docs/manifests.md lists the keys of every manifest") from error
