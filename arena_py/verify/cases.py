"""The files of a case: weights, several sets of inputs, the float64 reference, and float32 PyTorch's own noise.

Made once and kept under `artifacts/reference/`, named by a hash of everything they depend on; their content hashes are
checked whenever they are used.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from arena_py import places
from arena_py.build import identity_of
from arena_py.contract.messages import UNREADABLE, ModelSpec, Precision
from arena_py.errors import ArenaError
from arena_py.manifest import Case, GateLimits
from arena_py.verify import gate, generate
from arena_py.verify.canon import Canon
from arena_py.verify.exercise import Exercise
from arena_py.verify.files import made_once, sha256
from arena_py.verify.norms import Comparison, compare, with_curve
from arena_py.verify.weights import resolve

RECORD = "case.json"
NOISE = "noise-{}.json"
LOWER: tuple[Precision, ...] = ("tf32", "bf16")
"""The precisions whose noise is PyTorch's own in them (`frameworks/lowered.py`)."""
TOKENS = "tokens"
INPUTS = "inputs-{}.safetensors"
EXPECTED = "expected.safetensors"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """`case.json`: the content hashes of the folder's files, the noise, and a loss curve."""

    inputs_sha256: str
    later_inputs_sha256: list[str]
    expected_sha256: str
    noise: dict[str, float]
    curve: list[float] = []
    """Of `step`: the reference's loss at each step."""


class LowerNoise(msgspec.Struct, frozen=True, kw_only=True):
    """`noise-PRECISION.json`: PyTorch's own error in a lower precision."""

    noise: dict[str, float]
    problem: str | None = None
    """Why nothing can be verified in that precision."""
    recipe: str
    """A hash of what computed it."""


class CaseFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a cell of the case needs."""

    case: Case
    weights: Path
    weights_source: str
    weights_sha256: str
    inputs: Path
    later_inputs: list[Path]
    """Bound after `prepare`: one file, for `step` one for each step but the first."""
    expected: Path
    """The reference's outputs after the last of them, f64."""
    recorded: Recorded
    lower: dict[Precision, LowerNoise] = {}

    @property
    def noise(self) -> dict[str, float]:
        """Float32 PyTorch's largest error, by group."""
        return self.recorded.noise

    def noise_in(self, precision: Precision) -> dict[str, float]:
        """PyTorch's largest error in a precision that the case was prepared for, by group."""
        return self.lower[precision].noise if precision in LOWER else self.noise

    def problem_in(self, precision: Precision, limits: GateLimits) -> str | None:
        """Why nothing can be verified in that precision by these limits; none when it can."""
        if precision in LOWER and (problem := self.lower[precision].problem):
            return problem
        return gate.unverifiable(self.noise_in(precision), limits, precision)

    def exercise(self, backend: str, precision: Precision = "f32") -> Exercise:
        """The case for one runner."""
        return _exercise(self.case, self.weights, [self.inputs, *self.later_inputs]).on(backend, precision)


def prepare(
    case: Case,
    canon: Canon,
    *,
    weights: str | None = None,
    precisions: Iterable[Precision] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> CaseFiles:
    """The files of a case, made where they are not there.

    Args:
        case: what to prepare.
        canon: computes the reference.
        weights: overrides the manifest's source of weights.
        precisions: those in which something is to be verified.
        progress: told what is being done, before anything that takes long.

    Raises:
        ArenaError: the weights are not those of the model, or the reference cannot be computed.
    """
    source = weights or case.model.file.weights
    progress(f"weights of {case.model.name}")
    weights_file = resolve(case.model, source)
    weights_sha256 = sha256(weights_file)
    folder = places.artifacts() / "reference" / f"{case.name.replace('/', '-')}-{_key(case, weights_sha256)}"
    recorded = made_once(
        folder,
        lambda: _read(folder),
        lambda scratch: _make(case, weights_file, scratch, canon, progress),
        progress,
    )
    files = CaseFiles(
        case=case,
        weights=weights_file,
        weights_source=source,
        weights_sha256=weights_sha256,
        inputs=folder / INPUTS.format(0),
        later_inputs=[folder / INPUTS.format(index) for index in range(1, _batches(case))],
        expected=folder / EXPECTED,
        recorded=recorded,
    )
    lower = {each: _lower_noise(files, each, canon, progress) for each in LOWER if each in set(precisions)}
    return msgspec.structs.replace(files, lower=lower)


def _lower_noise(files: CaseFiles, precision: Precision, canon: Canon, progress: Callable[[str], None]) -> LowerNoise:
    """PyTorch's own error in a precision, computed once."""
    path = files.expected.with_name(NOISE.format(precision))
    recipe = _lower_recipe()
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        kept = msgspec.json.decode(path.read_bytes(), type=LowerNoise)
        if kept.recipe == recipe:
            return kept
    progress(f"{precision} noise of {files.case.name}")
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        rounded = Path(scratch) / "rounded.safetensors"
        curve = canon.run("lowered", files.exercise("cpu", precision), rounded)
        comparison = with_curve(compare(rounded, files.expected), curve, files.recorded.curve)
    problem = comparison.problems[0] if comparison.problems else _not_verifiable(comparison, precision)
    noise = {str(group): error for group, error in comparison.worst().items()}
    made = LowerNoise(noise=noise if problem is None else {}, problem=problem, recipe=recipe)
    path.write_bytes(msgspec.json.encode(made))
    return made


def _not_verifiable(comparison: Comparison, precision: Precision) -> str | None:
    for distance in comparison.distances:
        if distance.name == TOKENS and distance.error > 0:
            share = f"{distance.error:.0%} of its tokens differ from the reference's"
            return f"not verifiable in {precision}: PyTorch itself takes other turns there, {share}"
        if not math.isfinite(distance.error):
            return f"not verifiable in {precision}: PyTorch's own {distance.name} is not finite"
    return None


def _lower_recipe() -> str:
    digest = hashlib.sha256()
    for name in ("lowered", "rounding"):
        digest.update((places.PACKAGE / "frameworks" / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def _key(case: Case, weights_sha256: str) -> str:
    recipe = [
        case.model.file.architecture,
        case.model.file.config,
        case.model.file.seed,
        case.contract_task,
        case.options,
        case.shape.sizes,
        _batches(case),
        weights_sha256,
        generate.source_hash(),
        identity_of("pytorch"),
    ]
    return hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()[:16]


def _read(folder: Path) -> Recorded | None:
    try:
        recorded = msgspec.json.decode((folder / RECORD).read_bytes(), type=Recorded)
        inputs = enumerate([recorded.inputs_sha256, *recorded.later_inputs_sha256])
        kept = {EXPECTED: recorded.expected_sha256} | {INPUTS.format(index): digest for index, digest in inputs}
        whole = all(sha256(folder / name) == digest for name, digest in kept.items())
    except (OSError, ArenaError, *UNREADABLE):
        return None
    return recorded if whole else None


def _make(case: Case, weights: Path, folder: Path, canon: Canon, progress: Callable[[str], None]) -> Recorded:
    inputs = [folder / INPUTS.format(index) for index in range(_batches(case))]
    expected = folder / EXPECTED
    file = case.model.file
    generate.inputs(generate.Spec(file.architecture, file.config, dict(case.shape.sizes), file.seed + 1), *inputs)
    exercise = _exercise(case, weights, inputs)
    progress(f"float64 reference of {case.name}")
    curve = canon.run("reference", exercise.on("cpu", "f64"), expected)
    progress(f"float32 noise of {case.name}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        rounded = Path(scratch) / "rounded.safetensors"
        rounded_curve = canon.run("pytorch", exercise, rounded)
        comparison = with_curve(compare(rounded, expected), rounded_curve, curve)
    if comparison.problems:
        raise ArenaError(f"{case.name}: the reference and PyTorch disagree: {comparison.problems[0]}", exit_code=1)
    recorded = Recorded(
        inputs_sha256=sha256(inputs[0]),
        later_inputs_sha256=[sha256(path) for path in inputs[1:]],
        expected_sha256=sha256(expected),
        noise={str(group): error for group, error in comparison.worst().items()},
        curve=curve,
    )
    (folder / RECORD).write_bytes(msgspec.json.encode(recorded))
    return recorded


def _batches(case: Case) -> int:
    """Sets of inputs: those of `prepare` and those bound later."""
    return case.shape.steps if case.task == "step" else 2


def _exercise(case: Case, weights: Path, inputs: list[Path]) -> Exercise:
    return Exercise(
        model=ModelSpec(case.model.file.architecture, case.model.file.config),
        weights=weights,
        task=case.contract_task,
        options=case.options,
        inputs=inputs[0],
        later_inputs=inputs[1:],
    )
