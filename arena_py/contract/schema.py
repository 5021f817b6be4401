"""The JSON Schemas under `docs/schema/`, generated from the types: `python -m arena_py.contract.schema [--check]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from arena_py.contract import messages
from arena_py.footprint.document import Audit
from arena_py.manifest.framework import Framework
from arena_py.manifest.model import ModelFile
from arena_py.manifest.suite import Suite
from arena_py.results.document import Run

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schema"

DOCUMENTS: dict[str, dict[str, Any]] = {
    "contract.ready": {"title": "ready line, and the description without `event`", "type": messages.Ready},
    "contract.request": {"title": "request", "type": messages.Request},
    "contract.answer": {"title": "answer", "type": messages.Answer},
    "manifest.framework": {"title": "manifests/frameworks/NAME.toml", "type": Framework},
    "manifest.model": {"title": "manifests/models/NAME.toml", "type": ModelFile},
    "manifest.suite": {"title": "manifests/suites/NAME.toml", "type": Suite},
    "run": {"title": "artifacts/results/RUN/run.json", "type": Run},
    "audit": {"title": "artifacts/results/RUN/audit.json", "type": Audit},
}


def schema(title: str, type_: Any) -> bytes:
    """The JSON Schema (draft 2020-12) of one type, indented, with a final newline."""
    (definition,), components = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **definition,
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def documents() -> dict[str, bytes]:
    """Every schema file by name. `ok` of each answer is the type that `contract.ok` lists under its operation."""
    files = {f"{name}.schema.json": schema(entry["title"], entry["type"]) for name, entry in DOCUMENTS.items()}
    for request, answer in messages.ANSWERS.items():
        op = request.__struct_config__.tag
        files[f"contract.ok.{op}.schema.json"] = schema(f"`ok` of {op}", answer)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the schemas; with `--check`, say which differ from what is there and end with 1."""
    parser = argparse.ArgumentParser(prog="python -m arena_py.contract.schema", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    stale = [name for name, content in documents().items() if not _same(FOLDER / name, content)]
    extra = [path.name for path in FOLDER.glob("*.json") if path.name not in documents()]
    if check:
        for name in [*stale, *extra]:
            sys.stderr.write(f"error: docs/schema/{name} is not what the types say\n")
        if stale or extra:
            sys.stderr.write("hint: python -m arena_py.contract.schema\n")
        return 1 if stale or extra else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_bytes(documents()[name])
    for name in extra:
        (FOLDER / name).unlink()
    return 0


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
