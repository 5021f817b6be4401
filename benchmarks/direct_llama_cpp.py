"""SmolLM2-135M's shape through llama.cpp alone, without Arena: what the llama.cpp row of a comparison is held against.

    artifacts/env/llama-cpp/bin/python benchmarks/direct_llama_cpp.py [--iterations N] [--last]

The loop of `llama-bench -p 128`: clear the cache, one `llama_decode` of the prompt, synchronise. Logits are asked of
every position, as in a comparison; with `--last` of the last one alone, which is what `llama-bench` itself counts.
Prints one line of JSON: nanoseconds of wall clock for each execution.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import gguf
import llama_cpp as api
import numpy as np

LAYERS, HIDDEN, INNER, HEADS, KEY_HEADS, WIDTH, VOCABULARY, LENGTH = 30, 576, 1536, 9, 3, 64, 49152, 128
LAYER = {
    "attn_q": (HEADS * WIDTH, HIDDEN), "attn_k": (KEY_HEADS * WIDTH, HIDDEN), "attn_v": (KEY_HEADS * WIDTH, HIDDEN),
    "attn_output": (HIDDEN, HEADS * WIDTH), "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN),
    "ffn_down": (HIDDEN, INNER), "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,),
}  # fmt: skip


def write(path: Path) -> None:
    draw = np.random.default_rng(0).standard_normal
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(VOCABULARY)
    writer.add_context_length(8192)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes = {"token_embd": (VOCABULARY, HIDDEN), "output_norm": (HIDDEN,)}
    shapes |= {f"blk.{index}.{name}": shape for index in range(LAYERS) for name, shape in LAYER.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw(shape, dtype=np.float32) * np.float32(HIDDEN**-0.5))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--iterations", type=int, default=20)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--last", action="store_true")
    chosen = options.parse_args()
    errors = api.llama_log_callback(lambda level, text, _: print(text.decode(), end="") if level == 4 else None)
    api.llama_log_set(errors, None)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "model.gguf")
        model = api.llama_model_load_from_file(f"{folder}/model.gguf".encode(), api.llama_model_default_params())
    settings = api.llama_context_default_params()
    settings.n_ctx = settings.n_batch = LENGTH
    settings.n_threads = settings.n_threads_batch = chosen.threads
    settings.type_k = settings.type_v = api.GGML_TYPE_F32
    settings.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = api.llama_init_from_model(model, settings)
    batch = api.llama_batch_init(LENGTH, 0, 1)
    batch.n_tokens = LENGTH
    for index, token in enumerate(np.random.default_rng(1).integers(VOCABULARY, size=LENGTH)):
        batch.token[index], batch.pos[index], batch.n_seq_id[index] = int(token), index, 1
        batch.seq_id[index][0], batch.logits[index] = 0, not chosen.last or index == LENGTH - 1
    samples_ns = []
    for _ in range(chosen.iterations + 1):  # the first is not counted
        start = time.perf_counter_ns()
        api.llama_memory_clear(api.llama_get_memory(context), False)
        assert api.llama_decode(context, batch) == 0
        api.llama_synchronize(context)
        samples_ns.append(time.perf_counter_ns() - start)
    print(json.dumps({"task": "infer", "samples_ns": samples_ns[1:]}))


if __name__ == "__main__":
    main()
