"""`llama`: transformers' `LlamaForCausalLM`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from arena_py.contract.adapter import RunnerError
from arena_py.models import angles, seeded
from arena_py.models import config as public
from arena_py.models.generation import greedy
from arena_py.models.inputs import Ids, InputSpec, default_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch

KEYS = frozenset(
    {
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "rms_norm_eps",
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "rope_theta",
        "rope_parameters",
        "rope_scaling",
        "pad_token_id",  # its row of the embedding gets no gradient as an input
    }
)
FIXED = {"attention_dropout": 0.0, "pretraining_tp": 1, "rope_interleaved": False, "is_encoder_decoder": False}
NEUTRAL = frozenset(
    {
        "max_position_embeddings",
        "initializer_range",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "is_llama_config",
    }
)


class Llama:
    """Causal language model: `input_ids` -> `logits`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "llama"
    output = "logits"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        read = public.honoured(self.name, config, keys=KEYS, fixed=FIXED, neutral=NEUTRAL)
        theta = public.rope_theta(self.name, read, 10_000.0)
        public.require_positive(self.name, read, *(key for key in read if key.startswith("num_")), "head_dim")
        with public.configuring(self.name):
            # Rotary angles grow with the position: there is no table whose length would limit the sequence.
            self.config = LlamaConfig(
                **read, rope_parameters={"rope_type": "default", "rope_theta": theta}, attn_implementation="sdpa"
            )
        heads, groups, width = self.config.num_attention_heads, self.config.num_key_value_heads, self.config.head_dim
        if heads % groups:
            raise RunnerError(
                "unsupported", f"llama: num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}"
            )
        if width % 2:
            raise RunnerError("unsupported", f"llama: head_dim {width} is not even")
        vocabulary = Ids(self.config.vocab_size)
        self.inputs = (
            InputSpec("input_ids", ("batch", "seq"), vocabulary),
            InputSpec("labels", ("batch", "seq"), vocabulary, training=True),
        )

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """Batch and sequence length."""
        return default_sizes(self.name, given, {"batch": None, "seq": None})

    def build(self) -> torch.nn.Module:
        """`LlamaForCausalLM`."""
        with public.configuring(self.name):
            return LlamaForCausalLM(self.config).eval()

    def complete(self, module: torch.nn.Module, *, exact: bool) -> None:
        """Rotary frequencies; for the reference also the library's own attention, written out."""
        if exact:
            module.set_attn_implementation("eager")
            module.model.rotary_emb = angles.Rotary(self.config.head_dim, self.config.rope_parameters["rope_theta"])
        else:
            module.model.rotary_emb = LlamaRotaryEmbedding(self.config)

    def forward(self, module: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """Logits [B, T, V] of every position."""
        return module(input_ids=inputs["input_ids"], use_cache=False).logits

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """Mean cross entropy of each next token."""
        return functional.cross_entropy(output[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten())

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:  # noqa: ARG002 (no limit)
        """A loss over shifted positions needs two of them."""
        if task in ("train", "step") and sizes["seq"] < 2:
            raise RunnerError("invalid_inputs", "input `labels` needs at least two positions a row")

    def decode(
        self, module: torch.nn.Module, inputs: Batch, new_tokens: int, on_first: Callable[[], None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prompt in one pass, then a token a pass."""
        cache = DynamicCache(config=self.config)

        def next_logits(ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = module(
                input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits[:, -1]
            return logits

        return greedy(inputs["input_ids"], new_tokens, next_logits, on_first)

    def distribution(self, name: str, shape: tuple[int, ...]) -> seeded.Distribution:
        """Embeddings by the logits that they make, the rest by the common rule."""
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            return seeded.embedding(shape)
        return seeded.parameter(name, shape)
