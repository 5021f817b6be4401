"""`llama`: the configuration of transformers' `LlamaForCausalLM`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from arena_py.architectures.parameter import Listing, Parameter
from arena_py.architectures.reading import keys_of, refuse, require_even, require_multiple, require_padding
from arena_py.contract.adapter import RunnerError
from arena_py.models import config as public
from arena_py.models.inputs import Ids, InputSpec

if TYPE_CHECKING:
    from arena_py.contract.messages import TaskName

NAME = "llama"
FIXED = {"attention_dropout": 0.0, "pretraining_tp": 1, "rope_interleaved": False, "is_encoder_decoder": False}
NEUTRAL = frozenset(
    {
        "max_position_embeddings",  # rotary angles grow with the position: no table limits the sequence
        "initializer_range",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "is_llama_config",
    }
)


class LlamaConfig(msgspec.Struct, frozen=True):
    """The keys that change the numbers, with transformers' defaults."""

    vocab_size: int = 32_000
    hidden_size: int = 4096
    intermediate_size: int = 11_008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 0
    """As many as query heads when absent."""
    head_dim: int = 0
    """`hidden_size / num_attention_heads` when absent."""
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    pad_token_id: int | None = None
    """Its row of the embedding gets no gradient as an input."""

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> LlamaConfig:
        """Read the public configuration.

        Raises:
            RunnerError: `unsupported`, naming the key.
        """
        read = public.honoured(NAME, config, keys=KEYS, fixed=FIXED, neutral=NEUTRAL)
        read["rope_theta"] = public.rope_theta(NAME, read, cls().rope_theta)
        public.require_positive(NAME, read, *SIZES)
        with public.configuring(NAME):
            whole = msgspec.convert(read, cls)
        require_multiple(NAME, whole, "hidden_size", "num_attention_heads")
        heads = whole.num_attention_heads
        whole = msgspec.structs.replace(
            whole,
            num_key_value_heads=whole.num_key_value_heads or heads,
            head_dim=whole.head_dim or whole.hidden_size // heads,
        )
        groups = whole.num_key_value_heads
        if heads % groups:
            raise refuse(NAME, f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
        require_even(NAME, "head_dim", whole.head_dim)
        require_padding(NAME, whole.pad_token_id, whole.vocab_size)
        return whole

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of every task."""
        vocabulary = Ids(self.vocab_size)
        return (
            InputSpec("input_ids", ("batch", "seq"), vocabulary),
            InputSpec("labels", ("batch", "seq"), vocabulary, training=True),
        )

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:  # noqa: ARG002 (no limit)
        """A loss over shifted positions needs two of them.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        if task in ("train", "step") and sizes["seq"] < 2:
            raise RunnerError("invalid_inputs", "input `labels` needs at least two positions a row")

    def parameters(self) -> list[Parameter]:
        """Every parameter, all of them trained; a tied `lm_head` does not appear."""
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        listing = Listing()
        listing.add("model.embed_tokens.weight", self.vocab_size, hidden)
        for index in range(self.num_hidden_layers):
            layer = f"model.layers.{index}"
            for name, width, source in (
                ("q_proj", queries, hidden),
                ("k_proj", keys, hidden),
                ("v_proj", keys, hidden),
                ("o_proj", hidden, queries),
            ):
                listing.affine(f"{layer}.self_attn.{name}", width, source, bias=self.attention_bias)
            for name, width, source in (
                ("gate_proj", inner, hidden),
                ("up_proj", inner, hidden),
                ("down_proj", hidden, inner),
            ):
                listing.affine(f"{layer}.mlp.{name}", width, source, bias=self.mlp_bias)
            listing.add(f"{layer}.input_layernorm.weight", hidden)
            listing.add(f"{layer}.post_attention_layernorm.weight", hidden)
        listing.add("model.norm.weight", hidden)
        if not self.tie_word_embeddings:
            listing.add("lm_head.weight", self.vocab_size, hidden)
        return listing


KEYS = keys_of(LlamaConfig) | {"rope_parameters", "rope_scaling"}
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
