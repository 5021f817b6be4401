"""Where a model's weights come from: seeded, a file of the user's, or a checkpoint of a model hub."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from arena_py import places
from arena_py.contract.tensors import TensorFile, TensorFileError
from arena_py.errors import ArenaError
from arena_py.manifest import Model
from arena_py.verify import generate
from arena_py.verify.files import whole_folder

HUB = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
CHECKPOINT = "model.safetensors"


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
    folder = places.artifacts() / "weights" / f"{model.name}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    path = folder / CHECKPOINT
    if not _is_whole(path):
        spec = generate.Spec(model.file.architecture, model.file.config, {}, model.file.seed)
        with whole_folder(folder) as scratch:
            generate.weights(spec, scratch / CHECKPOINT)
    return path


def _is_whole(path: Path) -> bool:
    try:
        with TensorFile(path):
            return True
    except TensorFileError:
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
