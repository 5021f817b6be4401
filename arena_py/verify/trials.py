"""What a runner is tried on: golden cases, cases of models, and cases whose first activations are small.

A trial is one task on one model's files with the errors that are right there; whatever runner takes it, the gate
decides on the same comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from arena_py.contract.messages import TaskName
from arena_py.contract.session import Session
from arena_py.contract.tensors import TensorFile, write_tensors
from arena_py.frameworks.defects import FIRST_NORMALISED, FIRST_VARIANCE, SMALL, Subject
from arena_py.manifest import Case, GateLimits
from arena_py.results.document import Verification
from arena_py.verify import cases, conformance, gate
from arena_py.verify.canon import Canon
from arena_py.verify.cases import CaseFiles
from arena_py.verify.conformance import Target
from arena_py.verify.files import sha256
from arena_py.verify.golden import GoldenCase
from arena_py.verify.norms import Comparison, compare, with_curve
from arena_py.verify.weights import kept, resolve

GOLDEN_TASKS: dict[str, TaskName] = {"infer": "infer", "train": "train", "step sgd": "step", "step adamw": "step"}
"""Of `conformance.CHECKS`, those whose reference is not the runner's own."""
TOKENS = ("input_ids", "decoder_input_ids")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One task on one model's files."""

    name: str
    subject: Subject
    noise: dict[str, float]
    """Float32 PyTorch's largest error, by group, or by tensor where that is known."""
    limits: GateLimits
    compared: Callable[[Session, Target, Path], Comparison] = field(repr=False)
    """Runs the whole exercise in a session and compares its outputs with the reference."""

    def decide(self, session: Session, target: Target, scratch: Path) -> Verification:
        """The gate's decision on a runner.

        Raises:
            RunnerFailed: it refused, crashed or took too long.
        """
        return gate.decide(self.compared(session, target, scratch), self.noise, self.limits)


def of_golden(case: GoldenCase) -> Iterator[Trial]:
    """Inference, training and both optimizers on a golden case."""
    with TensorFile(case.inputs) as file:
        sizes = {"seq": file.tensors[name].shape[1] for name in TOKENS if name in file.tensors}  # noqa: B035 (one of them)
    for name, task in GOLDEN_TASKS.items():
        yield Trial(
            name=f"golden {case.name} {name}",
            subject=Subject(
                architecture=case.model.architecture,
                config=case.model.config,
                task=task,
                sizes=sizes,
                optimizer=conformance.OPTIMIZERS.get(name),
                rebinds=task != "step",
            ),
            noise=conformance.noise(case, name),
            limits=conformance.LIMITS,
            compared=_golden(case, name),
        )


def _golden(case: GoldenCase, name: str) -> Callable[[Session, Target, Path], Comparison]:
    return lambda session, target, scratch: conformance.CHECKS[name](session, target, case, name, scratch)


def of_model(case: Case, canon: Canon, limits: GateLimits, weights: str | None = None) -> Trial:
    """A case of a model's manifest, its reference computed where it is not kept.

    Raises:
        ArenaError: as `cases.prepare`.
    """
    return _trial(cases.prepare(case, canon, weights=weights), limits, small=False)


def small(chosen: Sequence[Case], canon: Canon, limits: GateLimits) -> Iterator[Trial]:
    """Inference and training of each model with small activations in front of its first normalisation.

    Its epsilon is then as large as what it is added to; beside activations of size 1 a wrong one would be lost in the
    rounding.

    Raises:
        ArenaError: as `cases.prepare`.
    """
    for name in dict.fromkeys(case.model.name for case in chosen):
        of_this = [case for case in chosen if case.model.name == name]
        for task in ("infer", "train"):
            found = next((case for case in of_this if case.task == task), None)
            if found is not None and found.model.file.architecture in FIRST_NORMALISED:
                yield _trial(cases.prepare(found, canon, weights=str(_scaled(found))), limits, small=True)


def _trial(files: CaseFiles, limits: GateLimits, *, small: bool) -> Trial:
    case = files.case
    subject = Subject(
        architecture=case.model.file.architecture,
        config=case.model.file.config,
        task=case.contract_task,
        sizes=case.shape.sizes,
        optimizer=case.options.optimizer,
        small=small,
    )

    def compared(session: Session, target: Target, scratch: Path) -> Comparison:
        output = scratch / "outputs.safetensors"
        exercise = files.exercise(target.backend).on(target.backend, "f32", target.boundary)
        curve = exercise.whole(session, output)
        return with_curve(compare(output, files.expected), curve, files.recorded.curve)

    name = f"{case.name} small" if small else case.name
    return Trial(name=name, subject=subject, noise=files.noise, limits=limits, compared=compared)


def _scaled(case: Case) -> Path:
    """The case's seeded weights with those in front of the first normalisation scaled down; made once."""
    seeded = resolve(case.model, "seeded")
    architecture = case.model.file.architecture
    factors = dict.fromkeys(FIRST_NORMALISED[architecture], SMALL) | dict.fromkeys(
        FIRST_VARIANCE.get(architecture, ()), SMALL**2
    )
    recipe = msgspec.json.encode([sha256(seeded), factors], order="deterministic")

    def write(path: Path) -> None:
        with TensorFile(seeded) as file:
            tensors = {name: file.read(name) for name in file.tensors}
        for name, factor in factors.items():
            if name in tensors:
                tensors[name] = (tensors[name] * factor).astype(tensors[name].dtype)
        write_tensors(path, tensors)

    return kept(f"{case.model.name}-small-{hashlib.sha256(recipe).hexdigest()[:16]}", write)
