"""`whisper`: a convolved and encoded spectrogram, and a decoder that attends to it (https://arxiv.org/abs/2212.04356)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arena_py.architectures.whisper import ENCODER_POSITIONS, FRAMES_PER_POSITION, LAYER_NORM_EPS
from arena_py.frameworks.arrays.activations import require_known

if TYPE_CHECKING:
    from arena_py.architectures.whisper import WhisperConfig
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters

    Attend = Callable[[int, Array, Array, Array], Array]
    """Layer, queries, keys and values to what they attend to."""
    Memory = list[tuple[Array, Array]]
    """Keys and values of the encoded spectrogram, a pair a decoder layer."""


class Whisper:
    """`input_features` and `decoder_input_ids` -> `logits`."""

    output = "logits"
    prompt = "decoder_input_ids"

    def __init__(self, config: WhisperConfig, ops: Ops) -> None:
        require_known("whisper", config.activation_function)
        self.config = config
        self.ops = ops

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """Logits [B, T, V] of every decoder position."""
        ids, memory = inputs["decoder_input_ids"], self._memory(p, inputs)
        positions = p["model.decoder.embed_positions.weight"][: ids.shape[1]]
        return self._logits(p, self._decode(p, ids, positions, memory, self._causal))

    def loss(self, output: Array, inputs: Batch) -> Array:
        """Mean cross entropy of every position against the label at the same position."""
        return self.ops.cross_entropy(output, inputs["labels"])

    def prefill(self, p: Parameters, inputs: Batch, length: int) -> tuple[Array, Any]:
        """The encoder and the prompt at once; the cache holds the encoder's keys and values too."""
        ids, memory, cache = inputs["decoder_input_ids"], self._memory(p, inputs), []

        def attend(layer: int, q: Array, k: Array, v: Array) -> Array:
            cache.append((self.ops.padded(k, length), self.ops.padded(v, length)))
            return self._causal(layer, q, k, v)

        positions = p["model.decoder.embed_positions.weight"][: ids.shape[1]]
        hidden = self._decode(p, ids, positions, memory, attend)
        return self._logits(p, hidden[:, -1]), {"own": cache, "memory": memory}

    def extend(self, p: Parameters, token: Array, cache: Any, position: Array) -> tuple[Array, Any]:
        """One token, which attends to every position up to its own, and to the encoder."""
        own, extended = cache["own"], []
        seen = (self.ops.xp.arange(own[0][0].shape[1]) <= position)[None]

        def attend(layer: int, q: Array, k: Array, v: Array) -> Array:
            keys, values = (self.ops.write(old, new, position) for old, new in zip(own[layer], (k, v), strict=True))
            extended.append((keys, values))
            return self.ops.attention(q, keys, values, seen)

        positions = p["model.decoder.embed_positions.weight"][position][None]
        hidden = self._decode(p, token, positions, cache["memory"], attend)
        return self._logits(p, hidden[:, -1]), {"own": extended, "memory": cache["memory"]}

    def _causal(self, _layer: int, q: Array, k: Array, v: Array) -> Array:
        return self.ops.attention(q, k, v, "causal")

    def _memory(self, p: Parameters, inputs: Batch) -> Memory:
        encoded = self._encode(p, inputs["input_features"])
        width = self.config.d_model // self.config.decoder_attention_heads
        return [
            (
                self._projected(p, f"model.decoder.layers.{index}.encoder_attn.k_proj", encoded, width),
                self._projected(p, f"model.decoder.layers.{index}.encoder_attn.v_proj", encoded, width),
            )
            for index in range(self.config.decoder_layers)
        ]

    def _encode(self, p: Parameters, features: Array) -> Array:
        """[B, bins, frames] to [B, positions, C]."""
        x = self.ops.channels_last(features)
        for name, stride in (("conv1", 1), ("conv2", FRAMES_PER_POSITION)):
            kernel, bias = p[f"model.encoder.{name}.weight"], p[f"model.encoder.{name}.bias"]
            x = self.ops.activation("gelu", self.ops.conv(x, kernel, bias, stride))
        x = x + p[ENCODER_POSITIONS]
        width = self.config.d_model // self.config.encoder_attention_heads
        for index in range(self.config.encoder_layers):
            name = f"model.encoder.layers.{index}"
            normed = self._normed(p, f"{name}.self_attn_layer_norm", x)
            q, k, v = (
                self._projected(p, f"{name}.self_attn.{part}", normed, width) for part in ("q_proj", "k_proj", "v_proj")
            )
            x = x + self._merged(p, f"{name}.self_attn", self.ops.attention(q, k, v))
            x = x + self._feed_forward(p, name, x)
        return self._normed(p, "model.encoder.layer_norm", x)

    def _decode(self, p: Parameters, ids: Array, positions: Array, memory: Memory, attend: Attend) -> Array:
        """Hidden states [B, T, C] after the last norm."""
        width = self.config.d_model // self.config.decoder_attention_heads
        x = self.ops.embed(p["model.decoder.embed_tokens.weight"], ids, self.config.pad_token_id) + positions
        for index in range(self.config.decoder_layers):
            name = f"model.decoder.layers.{index}"
            normed = self._normed(p, f"{name}.self_attn_layer_norm", x)
            q, k, v = (
                self._projected(p, f"{name}.self_attn.{part}", normed, width) for part in ("q_proj", "k_proj", "v_proj")
            )
            x = x + self._merged(p, f"{name}.self_attn", attend(index, q, k, v))
            normed = self._normed(p, f"{name}.encoder_attn_layer_norm", x)
            q = self._projected(p, f"{name}.encoder_attn.q_proj", normed, width)
            x = x + self._merged(p, f"{name}.encoder_attn", self.ops.attention(q, *memory[index]))
            x = x + self._feed_forward(p, name, x)
        return self._normed(p, "model.decoder.layer_norm", x)

    def _feed_forward(self, p: Parameters, name: str, x: Array) -> Array:
        normed = self._normed(p, f"{name}.final_layer_norm", x)
        inner = self.ops.activation(self.config.activation_function, self._linear(p, f"{name}.fc1", normed))
        return self._linear(p, f"{name}.fc2", inner)

    def _projected(self, p: Parameters, name: str, x: Array, width: int) -> Array:
        return self.ops.heads(self._linear(p, name, x), width)

    def _merged(self, p: Parameters, name: str, attended: Array) -> Array:
        return self._linear(p, f"{name}.out_proj", self.ops.merged(attended))

    def _normed(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], LAYER_NORM_EPS)

    def _logits(self, p: Parameters, hidden: Array) -> Array:
        tied = self.config.tie_word_embeddings
        return self.ops.linear(hidden, p["model.decoder.embed_tokens.weight" if tied else "proj_out.weight"])

    def _linear(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
