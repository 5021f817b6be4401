"""The rules of the contract that can be seen from outside, each put to a runner; what is broken is said by name."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arena_py.contract import messages as m
from arena_py.contract.conditions import runner_environment
from arena_py.contract.session import RunnerFailed
from arena_py.contract.tensors import TensorFile
from arena_py.verify.conformance import Bench, Target
from arena_py.verify.golden import GoldenCase
from arena_py.verify.kit import Array, Broken, Change, Kit, expect, expect_ok

DESCRIBE_TIMEOUT_S = 60.0


class RuleResult(msgspec.Struct, frozen=True):
    """One rule: kept, or broken and how."""

    rule: str
    broken: str | None


def easiest(target: Target, cases: list[GoldenCase]) -> GoldenCase:
    """The first case whose architecture the runner declares; the first of all when it declares none of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(RunnerFailed),
        target.session(Path(folder)) as session,
    ):
        declared = session.description.architectures
        return next((case for case in cases if case.model.architecture in declared), cases[0])
    return cases[0]


def check(target: Target, case: GoldenCase) -> Iterator[RuleResult]:
    """Every rule; one that is broken, or that needs a runner with nothing loaded, is followed by a new process."""
    yield RuleResult("`describe` prints one line, the one of `serve`", _broken(lambda: _describe(target)))
    with Bench(target) as bench:
        for rule, body in RULES.items():
            fresh = body in FRESH
            how = _broken(lambda: body(Kit(target, case, bench.session(fresh=fresh), bench.scratch)))  # noqa: B023
            if how is not None or fresh:
                bench.drop()
            yield RuleResult(rule, how)


def _broken(body: Callable[[], None]) -> str | None:
    try:
        body()
    except (Broken, RunnerFailed) as error:
        return str(error)
    return None


def _describe(target: Target) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*target.command, "describe"],
                capture_output=True,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                timeout=DESCRIBE_TIMEOUT_S,
                check=False,
                env=runner_environment(target.threads, target.environment),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Broken(f"describe: {error}") from error
        lines = done.stdout.count(b"\n")
        if done.returncode != 0 or lines != 1:
            raise Broken(f"describe: exit code {done.returncode}, {lines} lines")
        try:
            described = msgspec.json.decode(done.stdout, type=m.Description)
        except msgspec.MsgspecError as error:
            raise Broken(f"describe: {error}") from error
        with target.session(Path(folder)) as session:
            ready = msgspec.to_builtins(session.description)
        ready.pop("event")
        if msgspec.to_builtins(described) != ready:
            raise Broken("the ready line says something else than describe")


def _ready_then_end(kit: Kit) -> None:
    if (code := kit.session.end_input()) != 0:
        raise Broken(f"exit code {code} at the end of standard input, expected 0")


def _shutdown(kit: Kit) -> None:
    if (code := kit.session.shutdown()) != 0:
        raise Broken(f"exit code {code} after shutdown, expected 0")


def _not_json(kit: Kit) -> None:
    for line in (b"{", b"[]", b'"load"', b"", b'{"id":1}', b'{"id":1,"op":7}', b"\xff\xfe", b'{"id":7,"op":"load"}'):
        expect(kit.raw(line), "invalid_request")
    if (answer := kit.raw(b'{"id":7,"op":"load"}')).id != 7:
        raise Broken(f"an invalid request with id 7 is answered with id {answer.id}")
    expect(kit.load(threads="two"), "invalid_request")
    expect_ok(kit.load(), m.Loaded)


def _long_line(kit: Kit) -> None:
    expect(kit.raw(b'{"id":1,"op":"usage","pad":"' + b"x" * (m.MAX_LINE_BYTES + 1) + b'"}'), "invalid_request")
    expect_ok(kit.ask("usage"), m.MemoryUse)


def _unknown_op(kit: Kit) -> None:
    expect(kit.ask("dance"), "unknown_op")


def _order(kit: Kit) -> None:
    run = {"iterations": 1, "boundary": "host"}
    expect(kit.ask("run", **run), "invalid_request")
    expect(kit.prepare(), "invalid_request")
    expect_ok(kit.load(), m.Loaded)
    expect(kit.ask("run", **run), "invalid_request")
    expect(kit.ask("outputs", path=str(kit.scratch / "o.safetensors")), "invalid_request")
    expect(kit.ask("bind", inputs=str(kit.case.inputs)), "invalid_request")
    expect_ok(kit.prepare(), m.Prepared)
    expect(kit.ask("run", iterations=0, boundary="host"), "invalid_request")
    expect(kit.ask("run", iterations=1, boundary="moon"), "invalid_request")
    samples = expect_ok(kit.ask("run", iterations=3, boundary="host"), m.Samples)
    if len(samples.samples_ns) != 3 or min(samples.samples_ns) <= 0:
        raise Broken(f"run: samples {samples.samples_ns} for three iterations")


def _unknown_fields(kit: Kit) -> None:
    expect_ok(kit.load(colour="blue"), m.Loaded)


def _loaded(kit: Kit) -> None:
    loaded = expect_ok(kit.load(), m.Loaded)
    with TensorFile(kit.case.expected) as file:
        count = sum(info.elements for name, info in file.tensors.items() if name.startswith("grad."))
    width = 2 if kit.target.precision in ("bf16", "f16") else 4
    if loaded.parameters < count or loaded.parameter_bytes < width * count:
        raise Broken(
            f"load: {loaded.parameters} parameters in {loaded.parameter_bytes} bytes, at least {count} expected"
        )
    memory = expect_ok(kit.ask("usage"), m.MemoryUse)
    if memory.peak_rss_bytes < loaded.parameter_bytes:
        raise Broken(f"usage: peak of {memory.peak_rss_bytes} bytes is below the parameters' own")


def _unsupported(kit: Kit) -> None:
    model = {"architecture": kit.case.model.architecture, "config": kit.case.model.config}
    expect(kit.load(model=model | {"architecture": "perceptron"}), "unsupported", naming="perceptron")
    expect(kit.load(backend="abacus"), "unsupported", naming="abacus")
    expect(kit.load(precision="f8"), "unsupported", "invalid_request", naming="f8")
    strange = {**kit.case.model.config, "frobnication_factor": 3}
    expect(kit.load(model=model | {"config": strange}), "unsupported", naming="frobnication_factor")
    expect_ok(kit.load(), m.Loaded)
    expect(kit.prepare(task="juggle"), "unsupported", "invalid_request", naming="juggle")
    declarable: dict[str, dict[str, Any]] = {
        "train": {},
        "step": {"optimizer": {"name": "sgd", "lr": 0.1}},
        "decode": {"new_tokens": 2},
    }
    for task, options in declarable.items():
        if task not in kit.session.description.architectures.get(kit.case.model.architecture, []):
            expect(kit.prepare(task=task, **options), "unsupported")
    expect_ok(kit.prepare(), m.Prepared)


def _weights(kit: Kit) -> None:
    with TensorFile(kit.case.weights) as file:
        names = [name for name in file.tensors if file.tensors[name].elements > 1]
    for name in (names[0], names[-1]):
        for change in (_removed, _doubled, _other_type):
            expect(kit.load(weights=str(kit.weights(name, change))), "invalid_weights", naming=name)
    truncated = kit.scratch / "truncated.safetensors"
    whole = kit.case.weights.read_bytes()
    for content in (whole[:-100], whole[:5], b"", b"\xff" * 64):
        truncated.write_bytes(content)
        expect(kit.load(weights=str(truncated)), "invalid_weights")
    expect(kit.load(weights=str(kit.scratch / "absent.safetensors")), "invalid_weights")
    expect_ok(kit.load(weights=str(kit.weights("one.too.many", lambda tensor: tensor))), m.Loaded)


def _inputs(kit: Kit) -> None:
    expect_ok(kit.load(), m.Loaded)
    first = _first_input(kit)
    for change in (_removed, _flat, _other_type):
        expect(kit.prepare(kit.inputs(first, change)), "invalid_inputs", naming=first)
    for name, bad in _bad_ids(kit):
        for value in (-1, bad):
            expect(kit.prepare(kit.inputs(name, _ending_in(value))), "invalid_inputs", naming=name)
    expect_ok(kit.prepare(), m.Prepared)


def _first_input(kit: Kit) -> str:
    with TensorFile(kit.case.inputs) as file:
        return next(name for name in file.tensors if name not in ("labels", "target"))


def _removed(_: Array) -> None:
    return None


def _doubled(array: Array) -> Array:
    return np.concatenate([array, array])


def _flat(array: Array) -> Array:
    return array.reshape(1, -1, 1)


def _other_type(array: Array) -> Array:
    return array.astype(np.float32 if array.dtype.kind == "i" else np.int64)


def _ending_in(value: int) -> Change:
    def change(array: Array) -> Array:
        array.reshape(-1)[-1] = value
        return array

    return change


def _bad_ids(kit: Kit) -> list[tuple[str, int]]:
    vocabulary = int(kit.case.model.config.get("vocab_size", 0))
    with TensorFile(kit.case.inputs) as file:
        return [
            (name, vocabulary) for name in ("input_ids", "decoder_input_ids") if name in file.tensors and vocabulary
        ]


def _stays_usable(kit: Kit) -> None:
    expect_ok(kit.load(), m.Loaded)
    expect_ok(kit.prepare(), m.Prepared)
    expect(kit.load(backend="abacus"), "unsupported")
    expect(kit.prepare(kit.scratch / "absent.safetensors"), "invalid_inputs")
    expect_ok(kit.ask("run", iterations=1, boundary="host"), m.Samples)
    expect_ok(kit.ask("outputs", path=str(kit.scratch / "o.safetensors")), m.Written)


def _bind(kit: Kit) -> None:
    expect_ok(kit.load(), m.Loaded)
    expect_ok(kit.prepare(), m.Prepared)
    first = _first_input(kit)
    expect(kit.ask("bind", inputs=str(kit.inputs(first, _doubled))), "invalid_inputs", naming=first)
    expect_ok(kit.ask("bind", inputs=str(kit.case.inputs)), m.Empty)
    expect_ok(kit.ask("run", iterations=1, boundary="host"), m.Samples)


def _outputs(kit: Kit) -> None:
    expect_ok(kit.load(), m.Loaded)
    expect_ok(kit.prepare(), m.Prepared)
    path = kit.scratch / "o.safetensors"
    wanted = kit.case.names("infer")
    written = expect_ok(kit.ask("outputs", path=str(path), names=wanted[:1]), m.Written)
    with TensorFile(path) as file:
        if list(file.tensors) != wanted[:1] or written.tensors != 1:
            raise Broken(f"outputs: wrote {list(file.tensors)} and counted {written.tensors}, asked {wanted[:1]}")
    expect(kit.ask("outputs", path=str(path), names=["phlogiston"]), "invalid_request", naming="phlogiston")
    answer = kit.ask("outputs", path=str(kit.scratch / "no" / "such" / "folder" / "o.safetensors"))
    expect(answer, "invalid_request", "internal")


RULES: dict[str, Callable[[Kit], None]] = {
    "the end of standard input ends it with 0": _ready_then_end,
    "`shutdown` is answered, then it ends with 0": _shutdown,
    "what is no request is `invalid_request`, with its id": _not_json,
    "a line over 1 MiB is `invalid_request`": _long_line,
    "an unknown operation is `unknown_op`": _unknown_op,
    "operations out of order are `invalid_request`": _order,
    "unknown fields are ignored": _unknown_fields,
    "`load` and `usage` give plausible figures": _loaded,
    "what it does not have is `unsupported`, by name": _unsupported,
    "bad weights are `invalid_weights`, by name": _weights,
    "bad inputs are `invalid_inputs`, by name": _inputs,
    "it stays usable after an error": _stays_usable,
    "`bind` takes the same shapes and refuses others": _bind,
    "`outputs` writes the tensors asked for": _outputs,
}

FRESH = (_ready_then_end, _shutdown, _order)
"""Rules about the beginning or the end of a process."""
