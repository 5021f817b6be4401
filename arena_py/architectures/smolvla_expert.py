"""`smolvla-expert`: the configuration of one denoising step of lerobot's SmolVLA action expert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from arena_py.architectures.parameter import Listing, Parameter
from arena_py.architectures.reading import refuse, require_even, typed
from arena_py.models import config as public
from arena_py.models.inputs import InputSpec, Normal, Uniform

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName

NAME = "smolvla-expert"
FIXED = {"hidden_act": "silu"}
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "self_attn_every_n_layers",
    "chunk_size",
    "max_action_dim",
)
REALS = ("rms_norm_eps", "rope_theta", "min_period", "max_period")


class SmolVlaExpertConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that change the numbers; what is real has lerobot's value when absent."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    self_attn_every_n_layers: int
    """Layer `i` attends to the actions too when this divides `i`, and otherwise to the prefix alone."""
    chunk_size: int
    max_action_dim: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    min_period: float = 4e-3
    max_period: float = 4.0

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> SmolVlaExpertConfig:
        """Read the public configuration.

        Raises:
            RunnerError: `unsupported`, naming the key.
        """
        given = {key: value for key, value in config.items() if value is not None}
        public.require_present(NAME, given, *SIZES)
        public.require_positive(NAME, given, *SIZES)
        whole = typed(cls, NAME, config, fixed=FIXED)
        for key in REALS:
            value = getattr(whole, key)
            if not 0 < value < math.inf:
                raise refuse(NAME, f"config key `{key}` = {value!r} is not positive")
        heads, groups = whole.num_attention_heads, whole.num_key_value_heads
        if heads % groups:
            raise refuse(NAME, f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
        for key in ("hidden_size", "head_dim"):
            require_even(NAME, key, getattr(whole, key))
        return whole

    def is_self_attention(self, layer: int) -> bool:
        """Whether keys and values of the actions are appended to the prefix's in this layer."""
        return layer % self.self_attn_every_n_layers == 0

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of every task."""
        actions = ("batch", self.chunk_size, self.max_action_dim)
        prefix = (self.num_hidden_layers, "batch", "prefix", self.num_key_value_heads, self.head_dim)
        return (
            InputSpec("noisy_actions", actions, Normal()),
            InputSpec("timestep", ("batch",), Uniform(0.0, 1.0)),
            InputSpec("prefix_keys", prefix, Normal()),
            InputSpec("prefix_values", prefix, Normal()),
            InputSpec("target", actions, Normal(), training=True),
        )

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Any size is possible."""

    def parameters(self) -> list[Parameter]:
        """Every parameter, all of them trained, under lerobot's names.

        Where a layer attends to the prefix alone, its `k_proj` and `v_proj` take the prefix's keys and values.
        """
        hidden, inner, action = self.hidden_size, self.intermediate_size, self.max_action_dim
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        listing = Listing()
        listing.affine("model.action_in_proj", hidden, action)
        listing.affine("model.action_out_proj", action, hidden)
        listing.affine("model.action_time_mlp_in", hidden, 2 * hidden)
        listing.affine("model.action_time_mlp_out", hidden, hidden)
        expert = "model.vlm_with_expert.lm_expert"
        for index in range(self.num_hidden_layers):
            layer = f"{expert}.layers.{index}"
            source = hidden if self.is_self_attention(index) else keys
            listing.add(f"{layer}.self_attn.q_proj.weight", queries, hidden)
            listing.add(f"{layer}.self_attn.k_proj.weight", keys, source)
            listing.add(f"{layer}.self_attn.v_proj.weight", keys, source)
            listing.add(f"{layer}.self_attn.o_proj.weight", hidden, queries)
            listing.add(f"{layer}.mlp.gate_proj.weight", inner, hidden)
            listing.add(f"{layer}.mlp.up_proj.weight", inner, hidden)
            listing.add(f"{layer}.mlp.down_proj.weight", hidden, inner)
            listing.add(f"{layer}.input_layernorm.weight", hidden)
            listing.add(f"{layer}.post_attention_layernorm.weight", hidden)
        listing.add(f"{expert}.norm.weight", hidden)
        return listing
