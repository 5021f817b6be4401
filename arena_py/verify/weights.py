"""Where a model's weights come from: seeded, a file of the user's, or a checkpoint of a model hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from arena_py import places
from arena_py.errors import ArenaError
from arena_py.manifest import Model
from arena_py.verify import generate
from arena_py.verify.files import made_once, sha256

HUB = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
CHECKPOINT = "model.safetensors"
DIGEST = "model.sha256"


def resolve(model: Model, source: str | None = None) -> Path:
    """The weights file of a model, made or downloaded when it is not there.

    Args:
        model: whose weights.
        source: `seeded`, `hub:OWNER/NAME[@REVISION]` or a path; the manifest's own when absent.

    Raises:
        ArenaError: no such file, or the hub cannot be reached.
    """
    source = source or model.file.weights
    if source == "seeded":
        return seeded(model)
    if source.startswith("hub:"):
        return downloaded(source)
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise ArenaError(f"no such weights file: {source}", hint="expected `seeded`, hub:OWNER/NAME, or a path")
    return path


def seeded(model: Model) -> Path:
    """Weights from the manifest's seed, written once under `artifacts/weights/`, named by what they depend on."""
    recipe = msgspec.json.encode(
        [model.file.architecture, model.file.config, model.file.seed, generate.source_hash()], order="deterministic"
    )
    spec = generate.Spec(model.file.architecture, model.file.config, {}, model.file.seed)
    return kept(f"{model.name}-{hashlib.sha256(recipe).hexdigest()[:16]}", lambda path: generate.weights(spec, path))


def kept(name: str, write: Callable[[Path], None]) -> Path:
    """A weights file under `artifacts/weights/`, written when it is not there or not what was written.

    Args:
        name: of its folder; says what it depends on.
        write: makes the file.
    """
    folder = places.artifacts() / "weights" / name
    path = folder / CHECKPOINT

    def made(scratch: Path) -> Path:
        write(scratch / CHECKPOINT)
        (scratch / DIGEST).write_text(sha256(scratch / CHECKPOINT), encoding="ascii")
        return path

    return made_once(folder, lambda: path if _is_whole(path) else None, made)


def _is_whole(path: Path) -> bool:
    """Whether its content has the hash that it had when it was written."""
    try:
        return sha256(path) == path.with_name(DIGEST).read_text(encoding="ascii")
    except (OSError, ArenaError, UnicodeDecodeError):
        return False


def downloaded(source: str) -> Path:
    """The checkpoint of a hub repository, from the hub's own cache when it is there.

    Raises:
        ArenaError: not of the form, no such repository, or the hub cannot be reached.
    """
    match = HUB.fullmatch(source)
    if match is None:
        raise ArenaError(f"weights {source!r} are not of the form hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    import huggingface_hub as hub  # noqa: PLC0415  (slow, and only needed here)
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        return Path(hub.hf_hub_download(match["repository"], CHECKPOINT, revision=match["revision"]))
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _offline(source) from error
        raise ArenaError(f"{source}: has no {CHECKPOINT}", hint="only checkpoints of one file are supported") from error
    except errors.RepositoryNotFoundError as error:
        raise ArenaError(f"{source}: no such repository, or it needs a login (hf auth login)") from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _offline(source) from error


def _offline(source: str) -> ArenaError:
    return ArenaError(
        f"{source}: the hub cannot be reached and the checkpoint is not in its cache",
        hint="download it where there is a network and pass its path, or run with --weights seeded",
    )
