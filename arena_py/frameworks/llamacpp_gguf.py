"""A public `llama` checkpoint as GGUF, every tensor in float32.

The names and the keys are those of llama.cpp's own `convert_hf_to_gguf.py`. Its `llama` rotates adjacent pairs, where
transformers rotates halves: the rows of the query and key projections are put in the order that makes the two equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from arena_py.architectures import weights

if TYPE_CHECKING:
    from pathlib import Path

    from arena_py.architectures.llama import LlamaConfig

OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
INSIDE = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Of a layer: transformers' names, and llama.cpp's under `blk.N`."""
CONTEXT_LENGTH = 2048
"""The key must be there; llama.cpp warns of longer sequences and computes them all the same."""


def write(config: LlamaConfig, checkpoint: Path, target: Path) -> None:
    """Write the model, one tensor in memory at a time.

    Raises:
        RunnerError: `invalid_weights`, naming the tensor.
        OSError: `target` cannot be written.
    """
    writer = gguf.GGUFWriter(target, "llama")
    try:
        _describe(config, writer)
        parameters = config.parameters()
        for parameter in parameters:
            shape = parameter.shape
            writer.add_tensor_info(_name(parameter.name), shape, np.dtype(np.float32), 4 * parameter.elements)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for parameter, values in weights.read(checkpoint, parameters):
            writer.write_tensor_data(_ordered(config, parameter.name, values))
    finally:
        writer.close()


def _describe(config: LlamaConfig, writer: gguf.GGUFWriter) -> None:
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("none")  # no tokens are invented: ids go in and logits come out
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _name(public: str) -> str:
    """llama.cpp's name of a tensor: `model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight`."""
    owner, _, kind = public.rpartition(".")
    if owner in OUTSIDE:
        return f"{OUTSIDE[owner]}.{kind}"
    index, _, part = owner.removeprefix("model.layers.").partition(".")
    return f"blk.{index}.{INSIDE[part]}.{kind}"


def _ordered(config: LlamaConfig, name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rows (of a bias: the elements) of a query or key projection, pairs side by side instead of half by half."""
    owner = name.rpartition(".")[0]
    if owner.endswith(".q_proj"):
        heads = config.num_attention_heads
    elif owner.endswith(".k_proj"):
        heads = config.num_key_value_heads
    else:
        return values
    halves = values.reshape(heads, 2, config.head_dim // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
