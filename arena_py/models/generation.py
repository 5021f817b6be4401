"""Greedy generation, the same for every architecture that has tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def greedy(
    prompt: torch.Tensor,
    new_tokens: int,
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    on_first: Callable[[], None],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Feed the prompt, then the token of the largest logit, again and again.

    Args:
        prompt: i64 [B, T].
        new_tokens: N, how many to generate.
        next_logits: from ids i64 [B, T'] that were not fed before to the logits [B, V] after them.
        on_first: called when the first new token is known.

    Returns:
        Tokens i64 [B, N], and the logits [B, N, V] that chose them.
    """
    ids, tokens, logits = prompt, [], []
    for index in range(new_tokens):
        chosen_by = next_logits(ids)
        ids = chosen_by.argmax(-1, keepdim=True)
        if index == 0:
            on_first()
        tokens.append(ids)
        logits.append(chosen_by)
    return torch.cat(tokens, 1), torch.stack(logits, 1)
