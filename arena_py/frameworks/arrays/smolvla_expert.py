"""`smolvla-expert`: one denoising step of SmolVLA's action expert (https://arxiv.org/abs/2506.01844)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arena_py.frameworks.arrays.angles import rotary

if TYPE_CHECKING:
    from arena_py.architectures.smolvla_expert import SmolVlaExpertConfig
    from arena_py.frameworks.arrays.ops import Array, Batch, Ops, Parameters

    Pair = tuple[Array, Array]

EXPERT = "model.vlm_with_expert.lm_expert"


class SmolVlaExpert:
    """`noisy_actions`, `timestep` and the prefix -> `velocity`."""

    output = "velocity"

    def __init__(self, config: SmolVlaExpertConfig, ops: Ops) -> None:
        self.config = config
        self.ops = ops

    def forward(self, p: Parameters, inputs: Batch) -> Array:
        """Velocity [B, A, D]."""
        embedded = self._linear(p, "model.action_in_proj", inputs["noisy_actions"])
        time = self.ops.xp.broadcast_to(self._time(inputs["timestep"])[:, None], embedded.shape)
        mixed = self._linear(p, "model.action_time_mlp_in", self.ops.xp.concatenate((embedded, time), axis=-1))
        hidden = self._linear(p, "model.action_time_mlp_out", self.ops.activation("silu", mixed))
        hidden = self._expert(p, hidden, inputs["prefix_keys"], inputs["prefix_values"])
        return self._linear(p, "model.action_out_proj", hidden)

    def loss(self, output: Array, inputs: Batch) -> Array:
        """Mean squared error."""
        return self.ops.squared_error(output, inputs["target"])

    def _time(self, timestep: Array) -> Array:
        """[sin, cos] of `2 pi t / period` [B, C], periods geometric from `min_period` to `max_period`."""
        low, high = self.config.min_period, self.config.max_period
        periods = low * (high / low) ** np.linspace(0.0, 1.0, self.config.hidden_size // 2)
        return self.ops.xp.concatenate(self.ops.turns(timestep, 1.0 / periods), axis=-1)

    def _expert(self, p: Parameters, hidden: Array, prefix_keys: Array, prefix_values: Array) -> Array:
        """Layers that attend to prefix and actions, and others that attend to the prefix alone."""
        c, actions, prefix = self.config, hidden.shape[1], prefix_keys.shape[2]
        after_prefix = rotary(self.ops, c.head_dim, c.rope_theta, prefix, actions)
        from_zero = rotary(self.ops, c.head_dim, c.rope_theta, 0, actions)
        # The whole prefix is visible; an action sees itself and those before it.
        visible = self.ops.constant(np.tri(actions, prefix + actions, prefix, dtype=np.bool_))
        for index in range(c.num_hidden_layers):
            name = f"{EXPERT}.layers.{index}"
            angles, mask = (after_prefix, visible) if c.is_self_attention(index) else (from_zero, None)
            normed = self.ops.rms_norm(hidden, p[f"{name}.input_layernorm.weight"], c.rms_norm_eps)
            prefix_layer = (prefix_keys[index], prefix_values[index])
            hidden = hidden + self._attention(p, f"{name}.self_attn", normed, prefix_layer, (angles, mask))
            normed = self.ops.rms_norm(hidden, p[f"{name}.post_attention_layernorm.weight"], c.rms_norm_eps)
            hidden = hidden + self._mlp(p, f"{name}.mlp", normed)
        return self.ops.rms_norm(hidden, p[f"{EXPERT}.norm.weight"], c.rms_norm_eps)

    def _attention(
        self, p: Parameters, name: str, hidden: Array, prefix: Pair, seen: tuple[Pair, Array | None]
    ) -> Array:
        """To prefix and actions where a mask says what is seen, else to projections of the prefix alone."""
        angles, mask = seen
        width = self.config.head_dim
        q = self.ops.rotated(self.ops.heads(self._linear(p, f"{name}.q_proj", hidden), width), angles)
        own = mask is not None
        k, v = (
            self.ops.heads(self._linear(p, f"{name}.{part}", hidden if own else self.ops.merged(given)), width)
            for part, given in zip(("k_proj", "v_proj"), prefix, strict=True)
        )
        if own:
            k = self.ops.xp.concatenate((prefix[0], self.ops.rotated(k, angles)), axis=1)
            v = self.ops.xp.concatenate((prefix[1], v), axis=1)
        return self._linear(p, f"{name}.o_proj", self.ops.merged(self.ops.attention(q, k, v, mask)))

    def _mlp(self, p: Parameters, name: str, hidden: Array) -> Array:
        gate = self.ops.activation("silu", self._linear(p, f"{name}.gate_proj", hidden))
        return self._linear(p, f"{name}.down_proj", gate * self._linear(p, f"{name}.up_proj", hidden))

    def _linear(self, p: Parameters, name: str, x: Array) -> Array:
        return self.ops.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
