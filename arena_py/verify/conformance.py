"""Any runner over golden cases: every task that it declares, every tensor's error."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from arena_py.build import launch
from arena_py.contract.messages import AdamW, BoundaryName, Precision, Sgd, TaskName, TaskOptions
from arena_py.contract.session import RunnerFailed, Session
from arena_py.contract.tensors import TensorFile, TensorFileError, write_tensors
from arena_py.manifest import GateLimits
from arena_py.results.document import TensorError
from arena_py.verify.exercise import Exercise
from arena_py.verify.gate import decide, reason, unverifiable
from arena_py.verify.golden import GoldenCase, other_inputs
from arena_py.verify.norms import Comparison, compare
from arena_py.verify.updates import Real, update_noise, updated

LIMITS = GateLimits(k=8.0, floor=1e-6)
"""Those of the suites for f32."""
LOWER_LIMITS: Mapping[Precision, GateLimits] = {
    "tf32": GateLimits(k=4.0, floor=1e-5),
    "bf16": GateLimits(k=4.0, floor=1e-4),
}
"""Those of the suites for lower precisions."""
NEW_TOKENS = 5
OPTIMIZERS: Mapping[str, Sgd | AdamW] = {
    "step sgd": Sgd(lr=0.05),
    "step adamw": AdamW(lr=1e-2, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1),
}
"""AdamW's first step divides each gradient by its own size; `eps` of the gradients' order keeps it well conditioned."""

Outcome: TypeAlias = Literal["passed", "wrong", "unsupported", "unavailable", "out_of_memory", "crashed", "timed_out"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A runner to put through it."""

    label: str
    command: list[str]
    backend: str
    precision: Precision = "f32"
    environment: dict[str, str]
    threads: int
    boundary: BoundaryName = "host"
    in_process: str | None = None
    """The Python framework that runs in the driver's own process, without a command."""

    def session(self, scratch: Path) -> Session:
        """A fresh process of it."""
        return launch.session(
            self.command, self.in_process, scratch=scratch, environment=self.environment, threads=self.threads
        )


class GoldenResult(msgspec.Struct, frozen=True, kw_only=True):
    """One task on one case."""

    case: str
    task: str
    outcome: Outcome
    reason: str | None = None
    tensors: int = 0
    worst: TensorError | None = None


class Bench:
    """Sessions of one runner, kept while they work: starting some frameworks takes seconds."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session: Session | None = None
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        self._folder.cleanup()

    @property
    def scratch(self) -> Path:
        """The working folder of its sessions."""
        return Path(self._folder.name)

    def session(self, *, fresh: bool = False) -> Session:
        """The session, or a new one."""
        if fresh:
            self.drop()
        if self._session is None:
            self._session = self._target.session(self.scratch)
        return self._session

    def drop(self) -> None:
        """End the session: something was broken in it."""
        if self._session is not None:
            self._session.close()
        self._session = None


def check(target: Target, case: GoldenCase) -> Iterator[GoldenResult]:
    """Every task of the contract on one case, whose precision is the target's; `step` with both optimizers."""
    with Bench(target) as bench:
        for name, run in CHECKS.items():
            try:
                session = bench.session()
                declared = session.description.architectures.get(case.model.architecture)
                if declared is None or name.split()[0] not in declared:
                    if declared is not None or name == "infer":
                        yield GoldenResult(case=case.name, task=name, outcome="unsupported", reason="not declared")
                    continue
                if problem := _problem(case, name):
                    yield GoldenResult(case=case.name, task=name, outcome="unsupported", reason=problem)
                    continue
                comparison = run(session, target, case, name, bench.scratch)
            except RunnerFailed as error:
                bench.drop()
                yield GoldenResult(case=case.name, task=name, outcome=error.status, reason=error.reason)
                continue
            except TensorFileError as error:
                yield GoldenResult(case=case.name, task=name, outcome="wrong", reason=f"outputs: {error}")
                continue
            yield _judged(case, name, comparison)


def limits_in(precision: Precision) -> GateLimits:
    """Those of golden cases in a precision."""
    return LOWER_LIMITS.get(precision, LIMITS)


def _problem(case: GoldenCase, task: str) -> str | None:
    """Why a task cannot be verified in the case's precision: its own limits, for a step those of its gradients."""
    groups = {"infer": ("outputs",), "decode": ("outputs",)}.get(task, ("gradients",))
    own = {group: error for group, error in case.noise().items() if group in groups}
    return unverifiable(own, limits_in(case.precision), case.precision)


def _judged(case: GoldenCase, task: str, comparison: Comparison) -> GoldenResult:
    decision = decide(comparison, noise(case, task), limits_in(case.precision))
    return GoldenResult(
        case=case.name,
        task=task,
        outcome="passed" if decision.passed else "wrong",
        reason=reason(decision),
        tensors=len(decision.tensors),
        worst=decision.worst,
    )


def _exercise(target: Target, case: GoldenCase, task: TaskName, options: TaskOptions, first_inputs: Path) -> Exercise:
    return case.exercise(task, options, first_inputs).on(target.backend, target.precision, target.boundary)


def _task(session: Session, target: Target, case: GoldenCase, name: str, scratch: Path) -> Comparison:
    """`infer` and `train`: against the golden tensors, on inputs bound after `prepare`."""
    task: TaskName = "infer" if name == "infer" else "train"
    first = other_inputs(case.inputs, scratch / "first.safetensors")
    output = scratch / "outputs.safetensors"
    _exercise(target, case, task, TaskOptions(), first).whole(session, output)
    return compare(output, case.expected, case.names(task))


def _step(session: Session, target: Target, case: GoldenCase, name: str, scratch: Path) -> Comparison:
    """`step`: the first step's loss and parameters, from the golden gradients by PyTorch's definition, in float64."""
    optimizer = OPTIMIZERS[name]
    exercise = _exercise(target, case, "step", TaskOptions(optimizer=optimizer), case.inputs)
    exercise.load(session)
    exercise.prepare(session)
    output = scratch / "outputs.safetensors"
    session.outputs(output)
    expected = scratch / "expected.safetensors"
    with TensorFile(case.expected) as golden:
        loss = golden.read("loss")
    steps = _steps(case, optimizer)
    write_tensors(expected, {"loss": loss, **{f"param.{name}": value for name, (_, value) in steps.items()}})
    return compare(output, expected)


def _steps(case: GoldenCase, optimizer: Sgd | AdamW) -> dict[str, tuple[Real, Real]]:
    """Of each parameter the golden gradient, and its value after the first step."""
    steps = {}
    with TensorFile(case.expected) as golden, TensorFile(case.weights) as weights:
        for tensor in case.names("train"):
            if tensor.startswith("grad."):
                parameter = tensor.removeprefix("grad.")
                value, gradient = weights.read(parameter).astype(np.float64), golden.read(tensor)
                steps[parameter] = (gradient, updated(value, gradient, optimizer))
    return steps


def noise(case: GoldenCase, task: str) -> dict[str, float]:
    """PyTorch's error on a task of `CHECKS`, by group; of a step by parameter."""
    found = case.noise()
    if task in OPTIMIZERS:
        optimizer = OPTIMIZERS[task]
        steps = update_noise(_steps(case, optimizer), optimizer, found["gradients"], case.roundoff)
        found |= {f"param.{name}": error for name, error in steps.items()}
    return found


def _decode(session: Session, target: Target, case: GoldenCase, _name: str, scratch: Path) -> Comparison:
    """`decode`: tokens and logits against the runner's own `infer` over the whole sequence, without a cache."""
    tokens_of = "input_ids" if case.model.architecture == "llama" else "decoder_input_ids"
    output, whole = scratch / "decoded.safetensors", scratch / "whole.safetensors"
    options = TaskOptions(new_tokens=NEW_TOKENS)
    first = other_inputs(case.inputs, scratch / "first.safetensors")
    _exercise(target, case, "decode", options, first).whole(session, output)
    with TensorFile(output) as decoded, TensorFile(case.inputs) as inputs:
        if problems := _not_decoded(decoded, inputs.tensors[tokens_of].shape[0]):
            return Comparison(distances=[], problems=problems)
        new, its_logits = decoded.read("tokens"), decoded.read("logits")
        arrays = {key: inputs.read(key) for key in inputs.tensors if key != "labels"}
    arrays[tokens_of] = np.concatenate([arrays[tokens_of], new], axis=1)
    sequence = scratch / "sequence.safetensors"
    write_tensors(sequence, arrays)
    session.prepare("infer", sequence)
    session.outputs(whole)
    with TensorFile(whole) as file:
        logits = file.read("logits")[:, -NEW_TOKENS - 1 : -1].astype(np.float64)
    expected = scratch / "expected.safetensors"
    # Those of few bits may be equal, or change places when sums are in another order.
    judge = logits if target.precision == "f32" else its_logits
    write_tensors(expected, {"logits": logits, "tokens": _largest(judge, new)})
    return compare(output, expected)


def _not_decoded(file: TensorFile, batch: int) -> list[str]:
    """What `decode` did not write, or in another shape."""
    shapes = {name: tuple(info.shape[:2]) for name, info in file.tensors.items()}
    return [
        f"{name}: {f'shape {list(shapes[name])}…' if name in shapes else 'missing'}, expected {[batch, NEW_TOKENS]}…"
        for name in ("tokens", "logits")
        if shapes.get(name) != (batch, NEW_TOKENS)
    ]


def _largest(logits: np.ndarray[Any, Any], taken: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The token of the largest logit, `[batch, tokens]`; the one that was taken where several are as large."""
    of_taken = np.take_along_axis(logits, taken[..., None], axis=-1)[..., 0]
    return np.where(of_taken == logits.max(-1), taken, logits.argmax(-1)).astype(np.int64)


CHECKS: Mapping[str, Callable[[Session, Target, GoldenCase, str, Path], Comparison]] = {
    "infer": _task,
    "train": _task,
    "decode": _decode,
    "step sgd": _step,
    "step adamw": _step,
}
"""How each task is compared with a golden case."""
