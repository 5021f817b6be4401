"""Whatever a runner answers is an answer of the contract, or a failure that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from arena_py.contract import messages as m
from arena_py.contract.session import RunnerFailed, Session

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2),
        st.sampled_from([(1 << 63) - 1, 1 << 63, -(1 << 63), 1e300, 0.5]),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)),
    max_leaves=6,
)
FIELDS = (
    "samples_ns", "first_token_ns", "load_ns", "parameters", "parameter_bytes", "prepare_ns", "first_ns", "tensors",
    "peak_rss_bytes", "device_bytes",
)  # fmt: skip
OKS = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.fixed_dictionaries({"samples_ns": st.lists(st.integers(-1, 3), max_size=4)}),
    st.fixed_dictionaries({"load_ns": st.integers(0, 3), "parameters": JSON, "parameter_bytes": st.integers(0, 9)}),
    st.fixed_dictionaries({"prepare_ns": st.integers(-1, 1 << 63), "first_ns": st.integers(0, 1 << 63)}),
    JSON,
)
PROBLEMS = st.fixed_dictionaries(
    {}, optional={"code": st.sampled_from(["internal", "unsupported", "tired", 3]), "message": JSON}
)
ANSWERS = st.fixed_dictionaries(
    {"id": st.one_of(st.sampled_from([2, 2, 2, 2, 3, 1]), JSON)}, optional={"ok": OKS, "error": PROBLEMS, "more": JSON}
)
LINES = st.one_of(
    ANSWERS.map(msgspec.json.encode),
    ANSWERS.map(msgspec.json.encode).flatmap(lambda line: st.integers(0, len(line)).map(lambda end: line[:end])),
    st.binary(max_size=60),
    st.sampled_from([b"[" * 100_000, b'{"id":2,"ok":' + b'{"a":' * 100_000, b'{"id":2,"ok":{"load_ns":1e999}}']),
)


class Heard(Session):
    """A session whose runner said one line."""

    def __init__(self, line: bytes) -> None:
        self.threads = 1
        self._next_id = 1
        self._said = line
        self._broken: RunnerFailed | None = None
        self._timeouts_s = dict.fromkeys(("load", "prepare", "run", "bind", "outputs", "usage"), 1.0)

    def _send(self, line: bytes, op: str) -> None:
        msgspec.json.decode(line)

    def _line(self, op: str, timeout_s: float) -> tuple[int, bytes]:
        return 0, self._said


ASKED: dict[str, tuple[Any, Any]] = {
    "load": (lambda runner: runner.load(m.ModelSpec("llama", {}), Path("w"), backend="cpu"), m.Loaded),
    "prepare": (lambda runner: runner.prepare("infer", Path("i")), m.Prepared),
    "run": (lambda runner: runner.run(3), m.Samples),
    "bind": (lambda runner: runner.bind(Path("i")), type(None)),
    "outputs": (lambda runner: runner.outputs(Path("o")), m.Written),
    "usage": (lambda runner: runner.usage(), m.MemoryUse),
}


@pytest.mark.parametrize("op", ASKED)
@examples(400)
@given(line=LINES)
def test_any_line_is_an_answer_or_a_failure(op: str, line: bytes) -> None:
    ask, type_ = ASKED[op]
    try:
        answer = ask(Heard(line))
    except RunnerFailed as error:
        assert error.reason
        assert error.status in ("crashed", "unsupported", "unavailable")
        return
    assert isinstance(answer, type_)
    # What is believed can be stored, and comes back as it was.
    if answer is not None:
        assert msgspec.json.decode(msgspec.json.encode(answer), type=type_) == answer
    if isinstance(answer, m.Samples):
        assert len(answer.samples_ns) == 3
        assert min(answer.samples_ns) > 0


@examples(400)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.dictionaries(
            st.sampled_from(["event", "contract", "runner", "framework", "backends", "architectures", "build"]), JSON
        ).map(msgspec.json.encode),
        st.just(b"[" * 100_000),
    )
)
def test_any_first_line_is_a_ready_line_or_a_failure(line: bytes) -> None:
    with pytest.raises(RunnerFailed, match=r"first line is not a ready line|speaks contract"):
        Heard(b"")._ready(line)
