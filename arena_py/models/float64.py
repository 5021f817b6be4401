"""What transformers' `llama` computes in float32 whatever the module's type, in the module's type: for the reference.

Rounded to float32, a norm or a softmax falls to one side or the other with the order of a sum, and so with the vector
instructions of the processor: the reference would be another one on another machine, by 5e-7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.models.llama.modeling_llama import LlamaRMSNorm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "written_out"


def use(module: PreTrainedModel) -> None:
    """Put norms and attention of its own type into a `LlamaForCausalLM` whose parameters are loaded."""
    for name, norm in list(module.named_modules()):
        if isinstance(norm, LlamaRMSNorm):
            ours = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, device="meta")
            ours.weight = norm.weight
            module.set_submodule(name, ours)
    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, eager_mask)
    module.set_attn_implementation(ATTENTION)


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    **_options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention (Vaswani et al., https://arxiv.org/abs/1706.03762) as transformers asks for it.

    Args:
        module: says how many query heads share a key head.
        query: [B, H, T, width].
        key: [B, K, S, width].
        value: as `key`.
        attention_mask: added to the scores [B, 1, T, S].
        scaling: of the scores.

    Returns:
        The output [B, T, H, width], and the weights [B, H, T, S].
    """
    groups = module.num_key_value_groups
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights
