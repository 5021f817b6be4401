"""Audits on disk: `artifacts/results/TIME-audit/audit.json`, beside the runs, with each entry's bill."""

from __future__ import annotations

from pathlib import Path

import msgspec

from arena_py import places
from arena_py.contract.messages import UNREADABLE
from arena_py.errors import ArenaError
from arena_py.footprint import sbom
from arena_py.footprint.document import SCHEMA, Audit
from arena_py.results import store

AUDIT = "audit.json"
REPORT = "audit.md"


def encode(audit: Audit) -> bytes:
    """The document as it is stored: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(audit), indent=1) + b"\n"


def save(folder: Path, audit: Audit, report: str) -> None:
    """Write the document, its report and the bills of its entries.

    Raises:
        ArenaError: they cannot be written.
    """
    for entry in audit.entries:
        if entry.sbom is not None:
            store.write(folder / entry.sbom, sbom.document(entry).encode())
    store.write(folder / REPORT, report.encode())
    store.write(folder / AUDIT, encode(audit))


def find(name: str) -> Path | None:
    """The document that a path, a folder or the name of a stored audit means; none when it means something else."""
    path = Path(name)
    candidates = (path, path / AUDIT, places.artifacts() / "results" / name / AUDIT)
    return next((each for each in candidates if each.name == AUDIT and each.is_file()), None)


def load(path: Path) -> Audit:
    """A stored audit.

    Raises:
        ArenaError: it cannot be read, or is of another version.
    """
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).schema
        if version != SCHEMA:
            raise ArenaError(
                f"{path}: schema {version}, this arena reads {SCHEMA}", hint="use the arena version that wrote it"
            )
        return msgspec.json.decode(content, type=Audit)
    except OSError as error:
        raise ArenaError(f"{path}: {error.strerror or error}", exit_code=1) from error
    except UNREADABLE as error:
        raise ArenaError(f"{path}: not an audit: {error}") from error


def named(name: str) -> Audit:
    """The audit that a user calls `name`: a folder under `artifacts/results`, or a path.

    Raises:
        ArenaError: there is none, or it is not an audit of this version.
    """
    path = find(name)
    if path is None:
        raise ArenaError(f"no such audit: {name}", hint=f"expected an {AUDIT}, or a folder that holds one")
    return load(path)


def stored() -> list[Path]:
    """The documents of all audits in the store, by name."""
    return sorted(store.results().glob(f"*/{AUDIT}"))


class _Version(msgspec.Struct):
    schema: int
