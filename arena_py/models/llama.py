"""`llama`: transformers' `LlamaForCausalLM`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from arena_py.architectures import llama
from arena_py.models import angles, seeded
from arena_py.models import config as public
from arena_py.models.generation import greedy
from arena_py.models.inputs import default_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch


class Llama:
    """Causal language model: `input_ids` -> `logits`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "llama"
    output = "logits"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.public = llama.LlamaConfig.parse(config)
        read = msgspec.structs.asdict(self.public)
        rope = {"rope_type": "default", "rope_theta": read.pop("rope_theta")}
        with public.configuring(self.name):
            self.config = LlamaConfig(**read, rope_parameters=rope, attn_implementation="sdpa")
        self.inputs = self.public.inputs

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """Batch and sequence length."""
        return default_sizes(self.name, given, {"batch": None, "seq": None})

    def build(self) -> torch.nn.Module:
        """`LlamaForCausalLM`."""
        with public.configuring(self.name):
            return LlamaForCausalLM(self.config).eval()

    def complete(self, module: torch.nn.Module, *, exact: bool) -> None:
        """Rotary frequencies; for the reference also norms, which the library rounds to float32."""
        if exact:
            _replace_norms(module)
            module.model.rotary_emb = angles.Rotary(self.config.head_dim, self.config.rope_parameters["rope_theta"])
        else:
            module.model.rotary_emb = LlamaRotaryEmbedding(self.config)

    def forward(self, module: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """Logits [B, T, V] of every position."""
        return module(input_ids=inputs["input_ids"], use_cache=False).logits

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """Mean cross entropy of each next token."""
        return functional.cross_entropy(output[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten())

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """A loss over shifted positions needs two of them."""
        self.public.check(sizes, task, new_tokens)

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


def _replace_norms(module: torch.nn.Module) -> None:
    """Put norms that compute in the type of `module`, whose parameters are loaded, in the place of the library's.

    Rounded to float32, a norm falls to one side or the other with the order of a sum, and so with the vector
    instructions of the processor: the reference would be another one on another machine, by 5e-7.
    """
    for name, norm in list(module.named_modules()):
        if isinstance(norm, LlamaRMSNorm):
            ours = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, device="meta")
            ours.weight = norm.weight
            module.set_submodule(name, ours)
