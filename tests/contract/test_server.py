"""The request loop of a Python runner, in this process, with a framework that computes nothing worth measuring."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from arena_py.contract.adapter import LoadSpec, Output, Parameters, RunnerError
from arena_py.contract.messages import CONTRACT, MAX_LINE_BYTES, Backend, Build, Description, FrameworkVersion
from arena_py.contract.responder import peak_rss_bytes
from arena_py.contract.server import Server

LOAD = {
    "model": {"architecture": "llama", "config": {}},
    "weights": "w",
    "backend": "cpu",
    "precision": "f32",
    "threads": 1,
}


class DoublingProgram:
    """`y = 2 x`; `x` of 13 is an internal error, and a negative `x` does not fit in memory."""

    def __init__(self, inputs: Any) -> None:
        self.executions = 0
        self.bind(inputs)

    def bind(self, inputs: Any) -> None:
        if "x" not in inputs:
            raise RunnerError("invalid_inputs", "input `x` is missing")
        self.x = inputs["x"]

    def execute(self, boundary: str) -> int | None:
        if (self.x == 13).any():
            raise ValueError("thirteen")
        if (self.x < 0).any():
            raise MemoryError
        self.executions += 1
        self.y = 2 * self.x
        return 7

    def outputs(self) -> Iterator[Output]:
        yield Output("y", lambda: self.y)
        yield Output("executions", lambda: np.array(self.executions, np.int64))


class DoublingModel:
    parameters = Parameters(count=3, bytes=12)

    def prepare(self, task: str, options: Any, inputs: Any) -> DoublingProgram:
        if task == "train":
            raise RunnerError("unsupported", "task `train`")
        return DoublingProgram(inputs)


class Doubling:
    """A framework whose only backend is `cpu`."""

    def describe(self) -> Description:
        return Description(
            contract=CONTRACT,
            runner="doubling",
            framework=FrameworkVersion("doubling", "1"),
            backends=[Backend("cpu", "this one", ["f32"])],
            architectures={"llama": ["infer", "decode"]},
            own_kernels=[],
            build=Build("none", "release", []),
        )

    def load(self, spec: LoadSpec) -> DoublingModel:
        if spec.backend != "cpu":
            raise RunnerError("unsupported", f"backend `{spec.backend}`")
        return DoublingModel()


def converse(*requests: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """The answers to requests (objects, or raw lines), without the ready line."""
    lines = [item if isinstance(item, bytes) else json.dumps({"id": 1, **item}).encode() for item in requests]
    writer = io.BytesIO()
    Server(Doubling(), io.BytesIO(b"\n".join(lines) + b"\n"), writer).run()
    ready, *answers = [json.loads(line) for line in writer.getvalue().splitlines()]
    assert ready["event"] == "ready"
    assert ready["contract"] == CONTRACT
    assert ready["runner"] == "doubling"
    return answers


def load(**changes: Any) -> dict[str, Any]:
    return {"op": "load", **LOAD, **changes}


def inputs(folder: Path, *values: float, name: str = "x", dtype: type = np.float32) -> str:
    path = folder / f"{name}{'-'.join(map(str, values))}{dtype.__name__}.safetensors"
    save_file({name: np.array(values, dtype), "ignored": np.zeros(2, np.float32)}, path)
    return str(path)


def prepare(path: str, task: str = "infer", **options: Any) -> dict[str, Any]:
    return {"op": "prepare", "task": task, "inputs": path, "options": options}


def codes(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["error"]["code"] if "error" in answer else "ok" for answer in answers]


def test_a_whole_conversation(tmp_path: Path) -> None:
    first, second, out = inputs(tmp_path, 1, 2), inputs(tmp_path, 5, 6), tmp_path / "out.safetensors"
    answers = converse(
        load(),
        prepare(first),
        {"op": "bind", "inputs": second},
        {"op": "run", "iterations": 3, "boundary": "host"},
        {"op": "outputs", "path": str(out)},
        {"op": "usage"},
        {"op": "shutdown", "id": 99},
        {"op": "usage"},
    )
    assert codes(answers) == ["ok"] * 7  # nothing is answered after `shutdown`
    loaded, prepared, _, run, written, usage, shutdown = [answer["ok"] for answer in answers]
    assert (loaded["parameters"], loaded["parameter_bytes"]) == (3, 12)
    assert prepared["first_ns"] > 0
    assert len(run["samples_ns"]) == 3
    assert "first_token_ns" not in run
    assert written == {"tensors": 2}
    assert usage["peak_rss_bytes"] > 1 << 20
    assert usage["device_bytes"] is None
    assert shutdown == {}
    assert answers[-1]["id"] == 99
    stored = load_file(out)
    np.testing.assert_array_equal(stored["y"], np.float32([10, 12]))
    assert stored["executions"] == 4


def test_decode_tells_the_time_of_the_first_token(tmp_path: Path) -> None:
    *_, run = converse(
        load(),
        prepare(inputs(tmp_path, 1), "decode", new_tokens=2),
        {"op": "run", "iterations": 2, "boundary": "device"},
    )
    assert run["ok"]["first_token_ns"] == [7, 7]


def test_only_the_named_outputs_are_written(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    prepared = [load(), prepare(inputs(tmp_path, 1))]
    answers = converse(
        *prepared,
        {"op": "outputs", "path": str(out), "names": ["y"]},
        {"op": "outputs", "path": str(out), "names": ["z"]},
        {"op": "outputs", "path": str(tmp_path / "no" / "folder"), "names": ["y"]},
    )
    assert codes(answers[2:]) == ["ok", "invalid_request", "invalid_request"]
    assert "`z`" in answers[3]["error"]["message"]
    assert set(load_file(out)) == {"y"}


@pytest.mark.parametrize(
    ("line", "code", "number"),
    [
        (b"nonsense", "invalid_request", None),
        (b"", "invalid_request", None),
        (b"[1]", "invalid_request", None),
        (b"\xff\xfe", "invalid_request", None),
        (b"[" * 100_000, "invalid_request", None),
        (b'{"id":"3","op":"usage"}', "invalid_request", None),
        (b'{"id":true,"op":"usage"}', "invalid_request", None),
        (b'{"op":"usage"}', "invalid_request", None),
        (b'{"id":3}', "invalid_request", 3),
        (b'{"id":3,"op":7}', "invalid_request", 3),
        (b'{"id":3,"op":"fly"}', "unknown_op", 3),
        (b'{"id":3,"op":"load"}', "invalid_request", 3),
        (json.dumps({"id": 3, **load(threads="2")}).encode(), "invalid_request", 3),
        (json.dumps({"id": 3, **load(threads=0)}).encode(), "invalid_request", 3),
        (json.dumps({"id": 3, **load(precision="f12")}).encode(), "invalid_request", 3),
        (json.dumps({"id": 3, **load(backend="abacus")}).encode(), "unsupported", 3),
        (b'{"id":3,"op":"run","iterations":1,"boundary":"host"}', "invalid_request", 3),
        (b'{"id":3,"op":"bind","inputs":"x"}', "invalid_request", 3),
        (b'{"id":3,"op":"outputs","path":"x"}', "invalid_request", 3),
        (json.dumps({"id": 3, **prepare("x")}).encode(), "invalid_request", 3),
        (b'{"id":3,"op":"usage","pad":"' + b"x" * MAX_LINE_BYTES + b'"}', "invalid_request", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_answered_is_refused_and_the_runner_stays(line: bytes, code: str, number: int | None) -> None:
    refused, after = converse(line, {"op": "usage", "id": 4})
    assert refused["error"]["code"] == code
    assert refused["id"] == number
    assert after["id"] == 4
    assert "ok" in after


def test_a_line_of_exactly_the_limit_is_read() -> None:
    head, tail = b'{"id":3,"op":"usage","pad":"', b'"}'
    line = head + b"x" * (MAX_LINE_BYTES - len(head) - len(tail)) + tail
    assert codes(converse(line)) == ["ok"]
    assert codes(converse(line.replace(b"xx", b"xxx", 1))) == ["invalid_request"]


def test_unknown_fields_are_ignored() -> None:
    assert codes(converse(load(colour="blue"))) == ["ok"]


@pytest.mark.parametrize(("task", "option"), [("decode", "new_tokens"), ("step", "optimizer")])
def test_a_task_without_its_option_is_refused(tmp_path: Path, task: str, option: str) -> None:
    _, refused = converse(load(), prepare(inputs(tmp_path, 1), task))
    assert refused["error"]["code"] == "invalid_request"
    assert option in refused["error"]["message"]


def test_what_was_prepared_survives_refusals(tmp_path: Path) -> None:
    good, out = inputs(tmp_path, 3), str(tmp_path / "out.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    answers = converse(
        load(),
        prepare(good),
        prepare(good, "train"),
        load(backend="abacus"),
        prepare(str(tmp_path / "absent")),
        prepare(str(tmp_path / "broken.safetensors")),
        prepare(inputs(tmp_path, 3, name="z")),
        {"op": "bind", "inputs": inputs(tmp_path, 3, 4)},
        {"op": "bind", "inputs": inputs(tmp_path, 3, dtype=np.float64)},
        {"op": "bind", "inputs": inputs(tmp_path, 3, name="z")},
        {"op": "run", "iterations": 1, "boundary": "host"},
        {"op": "outputs", "path": out},
    )
    assert codes(answers) == ["ok", "ok", "unsupported", "unsupported"] + ["invalid_inputs"] * 6 + ["ok", "ok"]
    assert "`x` is F32 [2], prepared as F32 [1]" in answers[7]["error"]["message"]
    assert load_file(out)["y"] == 6


def test_a_failed_execution_leaves_no_outputs_of_an_older_one(tmp_path: Path) -> None:
    answers = converse(
        load(),
        prepare(inputs(tmp_path, 1)),
        {"op": "bind", "inputs": inputs(tmp_path, 13)},
        {"op": "run", "iterations": 1, "boundary": "host"},
        {"op": "outputs", "path": str(tmp_path / "out")},
        {"op": "bind", "inputs": inputs(tmp_path, -1)},
        {"op": "run", "iterations": 1, "boundary": "host"},
    )
    assert codes(answers[3:]) == ["internal", "invalid_request", "ok", "out_of_memory"]
    assert answers[3]["error"]["message"] == "thirteen"


def test_a_new_model_has_nothing_prepared(tmp_path: Path) -> None:
    answers = converse(load(), prepare(inputs(tmp_path, 1)), load(), {"op": "outputs", "path": "x"})
    assert codes(answers) == ["ok", "ok", "ok", "invalid_request"]


def test_answers_come_at_once_and_the_end_of_input_ends_the_loop() -> None:
    (request_out, request_in), (answer_out, answer_in) = os.pipe(), os.pipe()
    with os.fdopen(request_out, "rb") as reader, os.fdopen(answer_in, "wb", buffering=0) as writer:
        thread = threading.Thread(target=Server(Doubling(), reader, writer).run)
        thread.start()
        with os.fdopen(answer_out, "rb") as answers, os.fdopen(request_in, "wb", buffering=0) as requests:
            assert json.loads(answers.readline())["event"] == "ready"
            requests.write(b'{"id":5,"op":"usage"}\n')
            assert json.loads(answers.readline())["id"] == 5
            requests.close()
            thread.join(10)
        assert not thread.is_alive()


PRINTING = """
import os, sys
sys.path.insert(0, {tests!r})
from test_server import Doubling
from arena_py.contract.server import serve

def make():
    print("printed by Python", flush=True)
    os.write(1, b"printed by native code\\n")
    return Doubling()

sys.exit(serve(make))
"""


def test_what_a_framework_prints_is_not_an_answer() -> None:
    script = PRINTING.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script], input=b'{"id":1,"op":"usage"}\n', capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ready, answer = done.stdout.splitlines()
    assert json.loads(ready)["event"] == "ready"
    assert json.loads(answer)["id"] == 1
    assert b"printed by Python" in done.stderr
    assert b"printed by native code" in done.stderr


def test_the_peak_is_at_least_what_was_held() -> None:
    held = np.ones(8 << 20)
    assert peak_rss_bytes() > held.nbytes
