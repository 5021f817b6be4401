"""The files of a case: weights, two sets of inputs, the float64 reference, and float32 PyTorch's own noise.

Made once and kept under `artifacts/reference/`, named by a hash of everything they depend on; their content hashes are
checked whenever they are used.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from arena_py import places
from arena_py.build import identity_of
from arena_py.contract.messages import ModelSpec, Precision
from arena_py.errors import ArenaError
from arena_py.manifest import Case
from arena_py.verify import generate
from arena_py.verify.canon import Canon
from arena_py.verify.exercise import Exercise
from arena_py.verify.files import sha256, whole_folder
from arena_py.verify.norms import compare
from arena_py.verify.weights import resolve

RECORD = "case.json"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """`case.json`: the content hashes of the folder's files, and the noise."""

    inputs_sha256: str
    bound_inputs_sha256: str
    expected_sha256: str
    noise: dict[str, float]


class CaseFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a cell of the case needs."""

    case: Case
    weights: Path
    weights_source: str
    weights_sha256: str
    inputs: Path
    bound_inputs: Path
    expected: Path
    """The reference's outputs on the bound inputs, f64."""
    recorded: Recorded

    @property
    def noise(self) -> dict[str, float]:
        """Float32 PyTorch's largest error, by group."""
        return self.recorded.noise

    def exercise(self, backend: str, precision: Precision = "f32") -> Exercise:
        """The case for one runner."""
        return _exercise(self.case, self.weights, self.inputs, self.bound_inputs).on(backend, precision)


def prepare(
    case: Case, canon: Canon, *, weights: str | None = None, progress: Callable[[str], None] = lambda _: None
) -> CaseFiles:
    """The files of a case, made where they are not there.

    Args:
        case: what to prepare.
        canon: computes the reference.
        weights: overrides the manifest's source of weights.
        progress: told what is being done, before anything that takes long.

    Raises:
        ArenaError: the weights are not those of the model, or the reference cannot be computed.
    """
    source = weights or case.model.file.weights
    progress(f"weights of {case.model.name}")
    weights_file = resolve(case.model, source)
    weights_sha256 = sha256(weights_file)
    folder = places.artifacts() / "reference" / f"{case.name.replace('/', '-')}-{_key(case, weights_sha256)}"
    recorded = _read(folder)
    if recorded is None:
        with whole_folder(folder) as scratch:
            recorded = _make(case, weights_file, scratch, canon, progress)
    return CaseFiles(
        case=case,
        weights=weights_file,
        weights_source=source,
        weights_sha256=weights_sha256,
        inputs=folder / "inputs.safetensors",
        bound_inputs=folder / "bound.safetensors",
        expected=folder / "expected.safetensors",
        recorded=recorded,
    )


def _key(case: Case, weights_sha256: str) -> str:
    recipe = [
        case.model.file.architecture,
        case.model.file.config,
        case.model.file.seed,
        case.contract_task,
        case.options,
        case.shape.sizes,
        weights_sha256,
        generate.source_hash(),
        identity_of("pytorch"),
    ]
    return hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()[:16]


def _read(folder: Path) -> Recorded | None:
    try:
        recorded = msgspec.json.decode((folder / RECORD).read_bytes(), type=Recorded)
        kept = {
            "inputs": recorded.inputs_sha256,
            "bound": recorded.bound_inputs_sha256,
            "expected": recorded.expected_sha256,
        }
        whole = all(sha256(folder / f"{name}.safetensors") == digest for name, digest in kept.items())
    except (OSError, ArenaError, msgspec.MsgspecError):
        return None
    return recorded if whole else None


def _make(case: Case, weights: Path, folder: Path, canon: Canon, progress: Callable[[str], None]) -> Recorded:
    inputs, bound, expected = (folder / f"{name}.safetensors" for name in ("inputs", "bound", "expected"))
    seed = case.model.file.seed
    for path, offset in ((inputs, 1), (bound, 2)):
        spec = generate.Spec(
            case.model.file.architecture, case.model.file.config, dict(case.shape.sizes), seed + offset
        )
        generate.inputs(spec, path)
    exercise = _exercise(case, weights, inputs, bound)
    progress(f"float64 reference of {case.name}")
    canon.run("reference", exercise.on("cpu", "f64"), expected)
    progress(f"float32 noise of {case.name}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        rounded = Path(scratch) / "rounded.safetensors"
        canon.run("pytorch", exercise, rounded)
        comparison = compare(rounded, expected)
    if comparison.problems:
        raise ArenaError(f"{case.name}: the reference and PyTorch disagree: {comparison.problems[0]}", exit_code=1)
    recorded = Recorded(
        inputs_sha256=sha256(inputs),
        bound_inputs_sha256=sha256(bound),
        expected_sha256=sha256(expected),
        noise={str(group): error for group, error in comparison.worst().items()},
    )
    (folder / RECORD).write_bytes(msgspec.json.encode(recorded))
    return recorded


def _exercise(case: Case, weights: Path, inputs: Path, bound: Path) -> Exercise:
    return Exercise(
        model=ModelSpec(case.model.file.architecture, case.model.file.config),
        weights=weights,
        task=case.contract_task,
        options=case.options,
        inputs=inputs,
        bound_inputs=bound,
    )
