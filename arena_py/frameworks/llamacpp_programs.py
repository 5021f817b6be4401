"""The tasks of the contract on a llama.cpp model.

The two boundaries are one: ids are in the host's memory, and llama.cpp brings the logits there from a GPU by itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_py.contract.adapter import Output
from arena_py.frameworks.llamacpp_native import Batch, Context
from arena_py.models.inputs import take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import BoundaryName, TaskName
    from arena_py.frameworks.llamacpp import LlamaCppModel


def _ids(model: LlamaCppModel, task: TaskName, inputs: Tensors, new_tokens: int = 0) -> np.ndarray[Any, Any]:
    """The prompt i64 [B, T], checked.

    Raises:
        RunnerError: `invalid_inputs`.
    """
    arrays, sizes = take(model.config.inputs, inputs, task)
    model.config.check(sizes, task, new_tokens)
    ids: np.ndarray[Any, Any] = np.array(arrays["input_ids"])
    return ids


class Infer:
    """Every position of every sequence in one `llama_decode`, into an empty cache."""

    def __init__(self, model: LlamaCppModel, inputs: Tensors) -> None:
        self._model = model
        self.bind(inputs)
        batch, seq = self._prompt.shape
        self._batch = Batch(batch, seq)
        self._context = Context(model.native, sequences=batch, length=seq, feed=seq, threads=model.threads)
        self._logits: np.ndarray[Any, Any] | None = None

    def bind(self, inputs: Tensors) -> None:
        """Take other ids.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        self._prompt = _ids(self._model, "infer", inputs)

    def execute(self, boundary: BoundaryName) -> int | None:  # noqa: ARG002 (both are one)
        """Execute once."""
        self._logits = None
        self._context.clear()
        self._batch.tokens[:] = self._prompt
        self._logits = self._context.compute(self._batch)
        return None

    def outputs(self) -> Iterator[Output]:
        """The logits [B, T, V], written from llama.cpp's own memory."""
        if self._logits is not None:
            logits = self._logits.reshape(*self._prompt.shape, -1)
            yield Output("logits", lambda: logits)


class Decode:
    """Greedy generation with llama.cpp's cache: the prompt in one `llama_decode`, then a token of each sequence."""

    def __init__(self, model: LlamaCppModel, inputs: Tensors, new_tokens: int) -> None:
        self._model = model
        self._new_tokens = new_tokens
        self.bind(inputs)
        batch, seq = self._prompt.shape
        self._first = Batch(batch, seq, last_only=True)
        self._next = Batch(batch, 1)
        self._context = Context(model.native, sequences=batch, length=seq + new_tokens, feed=seq, threads=model.threads)
        self._tokens = np.empty((batch, new_tokens), np.int64)
        self._logits = np.empty((batch, new_tokens, model.config.vocab_size), np.float32)
        self._done = False

    def bind(self, inputs: Tensors) -> None:
        """Take another prompt.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        self._prompt = _ids(self._model, "decode", inputs, self._new_tokens)

    def execute(self, boundary: BoundaryName) -> int | None:  # noqa: ARG002 (both are one)
        """Execute once; the nanoseconds to the first new token."""
        start = time.perf_counter_ns()
        first_token_ns = 0
        self._done = False
        self._context.clear()
        self._first.tokens[:] = self._prompt
        self._next.positions[:] = self._prompt.shape[1]
        batch = self._first
        for index in range(self._new_tokens):
            logits = self._context.compute(batch)
            chosen = logits.argmax(-1)
            if index == 0:
                first_token_ns = time.perf_counter_ns() - start
            else:
                self._next.positions[:] += 1
            self._tokens[:, index] = chosen
            self._logits[:, index] = logits
            batch = self._next
            batch.tokens[:, 0] = chosen
        self._done = True
        return first_token_ns

    def outputs(self) -> Iterator[Output]:
        """The tokens [B, N] and the logits [B, N, V] that chose them."""
        if self._done:
            yield Output("tokens", lambda: self._tokens)
            yield Output("logits", lambda: self._logits)
