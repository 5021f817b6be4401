"""llama.cpp's own objects, owned: a model, a context with its key/value cache, a batch of tokens.

Strict float32 is chosen here: llama.cpp keeps keys and values in float16 unless told otherwise, and its flash attention
converts them to it. Everything else computes float32 tensors in float32 on a CPU; on Vulkan the variant keeps half
precision and cooperative matrices off by llama.cpp's own variables, but in attention, where there is none for it.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import TYPE_CHECKING, Any

import llama_cpp as native
import numpy as np

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks import llamacpp_devices

if TYPE_CHECKING:
    from pathlib import Path

ERROR_LEVEL = 4
"""`GGML_LOG_LEVEL_ERROR`; 5 goes on with the line before."""
CONTINUED = 5
UBATCH = 512
"""llama.cpp's own default of how many positions of a sequence are computed together."""
EVERY_LAYER = 1 << 16
"""More than any model has: the output projection counts as one, too."""
NO_MEMORY = -2
"""`llama_decode`: there was no memory for the computation."""


class _Log:
    """Keeps what llama.cpp says of an error for the message, and passes nothing else on to standard error."""

    def __init__(self) -> None:
        self._level = 0
        self._words: list[str] = []
        self._callback = native.llama_log_callback(self._take)  # kept: C holds no reference
        native.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _data: Any) -> None:
        self._level = self._level if level == CONTINUED else level
        if self._level == ERROR_LEVEL:
            words = text.decode("utf-8", "replace")
            self._words.append(words)
            sys.stderr.write(words)

    def taken(self) -> str:
        """What was said since the last time, on one line."""
        words, self._words = " ".join("".join(self._words).split()), []
        return words or "llama.cpp gave no reason"


LOG = _Log()


def _failure(what: str) -> Exception:
    """What to raise when llama.cpp returned nothing: memory is its most usual reason, told only in words."""
    words = LOG.taken()
    if any(sign in words for sign in ("failed to allocate", "unable to allocate", "bad_alloc", "out of memory")):
        return RunnerError("out_of_memory", words)
    return RuntimeError(f"{what}: {words}")


class NativeModel:
    """A model read from a GGUF file into memory of its own, so that the file may go away.

    Args:
        path: the file.
        gpu: whether every layer is on the GPU that llama.cpp prefers; without, none is on any.

    Raises:
        RunnerError: `device_unavailable` without a GPU, `out_of_memory`.
    """

    def __init__(self, path: Path, *, gpu: bool = False) -> None:
        native.llama_backend_init()
        self.gpu = llamacpp_devices.gpu() if gpu else None
        """What the driver calls the GPU; none on the CPU."""
        if gpu and self.gpu is None:
            raise RunnerError("device_unavailable", "llama.cpp finds no GPU by Vulkan")
        options = native.llama_model_default_params()
        options.load_mode = native.LLAMA_LOAD_MODE_NONE
        options.n_gpu_layers = EVERY_LAYER if gpu else 0
        options.split_mode = native.LLAMA_SPLIT_MODE_NONE
        pointer = native.llama_model_load_from_file(str(path).encode(), options)
        if not pointer:
            raise _failure("the model was not read")
        self.pointer = pointer
        weakref.finalize(self, native.llama_model_free, pointer)

    @property
    def vocabulary(self) -> int:
        """How many tokens it knows."""
        return int(native.llama_vocab_n_tokens(native.llama_model_get_vocab(self.pointer)))


class Context:
    """A cache for `sequences` sequences of `length` positions, and the buffers to compute them.

    Args:
        model: what computes.
        sequences: B.
        length: of a sequence with everything that is added to it.
        feed: positions of one sequence that are fed at once, at most.
        threads: of any computation.

    Raises:
        RunnerError: `unsupported` for more sequences, or other threads, than llama.cpp does; `out_of_memory`.
    """

    def __init__(self, model: NativeModel, *, sequences: int, length: int, feed: int, threads: int) -> None:
        most = int(native.llama_max_parallel_sequences())
        if sequences > most:
            raise RunnerError("unsupported", f"batch {sequences}: llama.cpp has at most {most} sequences in a batch")
        options = native.llama_context_default_params()
        options.n_seq_max = sequences
        options.n_ctx = sequences * length
        options.n_batch = sequences * feed
        # Split over several computations, the outputs of several sequences would have to be sorted afterwards.
        options.n_ubatch = min(feed, UBATCH) if sequences == 1 else sequences * feed
        options.kv_unified = False  # a sequence attends to itself: no scores between sequences, only to be masked
        options.n_threads = options.n_threads_batch = threads
        options.type_k = options.type_v = native.GGML_TYPE_F32
        options.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.offload_kqv = options.op_offload = model.gpu is not None
        pointer = native.llama_init_from_model(model.pointer, options)
        if not pointer:
            raise _failure("there is no context")
        self._model = model  # outlives the context
        self._pointer = pointer
        self._memory = native.llama_get_memory(pointer)
        weakref.finalize(self, native.llama_free, pointer)
        used = {int(native.llama_n_threads(pointer)), int(native.llama_n_threads_batch(pointer))}
        if used != {threads}:
            raise RunnerError("unsupported", f"{threads} threads: llama.cpp uses {used}")

    def clear(self) -> None:
        """Forget every sequence."""
        native.llama_memory_clear(self._memory, False)

    def compute(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Logits [n, V] of the batch's n outputs in their order, in llama.cpp's memory until the next computation.

        Raises:
            RunnerError: `out_of_memory`.
        """
        code = native.llama_decode(self._pointer, batch.native)
        if code == NO_MEMORY:
            raise RunnerError("out_of_memory", LOG.taken())
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}: {LOG.taken()}")
        native.llama_synchronize(self._pointer)
        logits = native.llama_get_logits(self._pointer)
        return np.ctypeslib.as_array(logits, shape=(batch.outputs, self._model.vocabulary))


class Batch:
    """Tokens for one computation: `length` of each of `sequences` sequences, from position `start` on.

    Args:
        sequences: B.
        length: T.
        start: the position of the first.
        last_only: whether there is an output for the last token of each sequence alone, instead of for every token.
    """

    def __init__(self, sequences: int, length: int, *, start: int = 0, last_only: bool = False) -> None:
        size = sequences * length
        self.native = native.llama_batch_init(size, 0, 1)
        weakref.finalize(self, native.llama_batch_free, self.native)
        self.native.n_tokens = size
        self.outputs = sequences if last_only else size
        self.tokens: np.ndarray[Any, Any] = _array(self.native.token, sequences, length)
        """The ids [B, T], to be written before each computation."""
        self.positions: np.ndarray[Any, Any] = _array(self.native.pos, sequences, length)
        self.positions[:] = np.arange(start, start + length)
        wanted = _array(self.native.logits, sequences, length)
        wanted[:] = not last_only
        wanted[:, -1] = True
        for index in range(size):
            self.native.n_seq_id[index] = 1
            self.native.seq_id[index][0] = index // length


def _array(pointer: Any, sequences: int, length: int) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.ctypeslib.as_array(pointer, shape=(sequences, length))
    return array
