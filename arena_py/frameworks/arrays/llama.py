"""`llama`: a causal decoder with rotary positions and grouped-query attention (https://arxiv.org/abs/2302.13971)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arena_py.frameworks.arrays.activations import require_known
from arena_py.frameworks.arrays.angles import rotary

if TYPE_CHECKING:
    from arena_py.architectures.llama import LlamaConfig
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters

    Attend = Callable[[int, Array, Array, Array], Array]
    """Layer, queries, keys and values to what they attend to."""


class Llama:
    """`input_ids` -> `logits`."""

    output = "logits"
    prompt = "input_ids"

    def __init__(self, config: LlamaConfig, ops: Ops) -> None:
        require_known("llama", config.hidden_act)
        self.config = config
        self.ops = ops

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """Logits [B, T, V] of every position."""
        ids = inputs["input_ids"]
        return self._logits(p, self._layers(p, ids, self._angles(ids.shape[1]), self._causal))

    def loss(self, output: Array, inputs: Batch) -> Array:
        """Mean cross entropy of each next token."""
        return self.ops.cross_entropy(output[:, :-1], inputs["labels"][:, 1:])

    def prefill(self, p: Parameters, inputs: Batch, length: int) -> tuple[Array, Any]:
        """The prompt at once; its keys and values are the beginning of the cache."""
        ids, cache = inputs["input_ids"], []

        def attend(layer: int, q: Array, k: Array, v: Array) -> Array:
            cache.append((self.ops.padded(k, length), self.ops.padded(v, length)))
            return self._causal(layer, q, k, v)

        hidden = self._layers(p, ids, self._angles(ids.shape[1]), attend)
        return self._logits(p, hidden[:, -1]), cache

    def extend(self, p: Parameters, token: Array, cache: Any, position: Array) -> tuple[Array, Any]:
        """One token, which attends to every position up to its own."""
        length, extended = cache[0][0].shape[1], []
        cosine, sine = self._angles(length)
        angles = (cosine[position][None], sine[position][None])
        seen = (self.ops.xp.arange(length) <= position)[None]

        def attend(layer: int, q: Array, k: Array, v: Array) -> Array:
            keys, values = (self.ops.write(old, new, position) for old, new in zip(cache[layer], (k, v), strict=True))
            extended.append((keys, values))
            return self.ops.attention(q, keys, values, seen)

        hidden = self._layers(p, token, angles, attend)
        return self._logits(p, hidden[:, -1]), extended

    def _angles(self, count: int) -> tuple[Array, Array]:
        return rotary(self.ops, self.config.head_dim, self.config.rope_theta, 0, count)

    def _causal(self, _layer: int, q: Array, k: Array, v: Array) -> Array:
        return self.ops.attention(q, k, v, "causal")

    def _layers(self, p: Parameters, ids: Array, angles: tuple[Array, Array], attend: Attend) -> Array:
        """Hidden states [B, T, C] after the last norm."""
        eps = self.config.rms_norm_eps
        hidden = self.ops.embed(p["model.embed_tokens.weight"], ids, self.config.pad_token_id)
        for index in range(self.config.num_hidden_layers):
            name = f"model.layers.{index}"
            normed = self.ops.rms_norm(hidden, p[f"{name}.input_layernorm.weight"], eps)
            hidden = hidden + self._attention(p, index, normed, angles, attend)
            normed = self.ops.rms_norm(hidden, p[f"{name}.post_attention_layernorm.weight"], eps)
            hidden = hidden + self._mlp(p, f"{name}.mlp", normed)
        return self.ops.rms_norm(hidden, p["model.norm.weight"], eps)

    def _attention(
        self, p: Parameters, index: int, hidden: Array, angles: tuple[Array, Array], attend: Attend
    ) -> Array:
        name = f"model.layers.{index}.self_attn"
        q, k, v = (
            self.ops.heads(self._linear(p, f"{name}.{part}", hidden), self.config.head_dim)
            for part in ("q_proj", "k_proj", "v_proj")
        )
        attended = attend(index, self.ops.rotated(q, angles), self.ops.rotated(k, angles), v)
        return self._linear(p, f"{name}.o_proj", self.ops.merged(attended))

    def _mlp(self, p: Parameters, name: str, hidden: Array) -> Array:
        gate = self.ops.activation(self.config.hidden_act, self._linear(p, f"{name}.gate_proj", hidden))
        return self._linear(p, f"{name}.down_proj", gate * self._linear(p, f"{name}.up_proj", hidden))

    def _logits(self, p: Parameters, hidden: Array) -> Array:
        tied = self.config.tie_word_embeddings
        return self.ops.linear(hidden, p["model.embed_tokens.weight" if tied else "lm_head.weight"])

    def _linear(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
