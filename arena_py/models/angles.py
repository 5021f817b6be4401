"""Angles in float64 for the reference: the libraries compute them in float32 whatever the module's type."""

from __future__ import annotations

import math

import torch
from torch import nn


class Rotary(nn.Module):
    """Cosine and sine of the rotary angles `position * theta^(-2i/d)` (Su et al., https://arxiv.org/abs/2104.09864).

    Takes the place of a transformers rotary module of rope type `default`: the angles of both halves of a head.

    Args:
        width: of a head, even.
        theta: base of the angles.
    """

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        self.register_buffer("frequencies", theta**-exponents, persistent=False)

    @torch.no_grad()
    def forward(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine [B, T, width] in the type of `hidden`."""
        angles = position_ids[..., None].double() * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)


class SinusoidalTime(nn.Module):
    """The sinusoidal embedding of a diffusion time step (Ho et al., https://arxiv.org/abs/2006.11239, appendix B).

    Takes the place of diffusers' `Timesteps`: angles `t * 10000^(-i / (d/2 - shift))`.

    Args:
        width: of the embedding, even.
        cosine_first: [cos, sin] instead of [sin, cos].
        shift: diffusers' `downscale_freq_shift`.
    """

    MAX_PERIOD = 10_000.0

    def __init__(self, width: int, shift: float, *, cosine_first: bool) -> None:
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float64) / (half - shift)
        self.register_buffer("frequencies", torch.exp(-math.log(self.MAX_PERIOD) * exponents), persistent=False)
        self.cosine_first = cosine_first

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Embedding [B, width] in float64."""
        angles = timesteps.double()[:, None] * self.frequencies
        parts = (angles.cos(), angles.sin()) if self.cosine_first else (angles.sin(), angles.cos())
        return torch.cat(parts, -1)
