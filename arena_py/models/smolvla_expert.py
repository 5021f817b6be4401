"""`smolvla-expert`: one denoising step of SmolVLA's action expert, after lerobot's module and its parameter names.

The language model has run: its keys (already rotated) and values of every layer are inputs. Where a layer attends to
itself, the expert's own keys and values are appended to the prefix's; elsewhere it attends to the prefix alone, through
projections of the prefix's keys and values.
Model: Shukor et al., SmolVLA, https://arxiv.org/abs/2506.01844; code: lerobot's `policies/smolvla`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import nn
from torch.nn import functional

from arena_py.architectures.smolvla_expert import SmolVlaExpertConfig
from arena_py.models import config as public
from arena_py.models import seeded
from arena_py.models.inputs import default_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch


class SmolVlaExpert:
    """Action expert: `noisy_actions`, `timestep` and the prefix -> `velocity`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "smolvla-expert"
    output = "velocity"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.public = SmolVlaExpertConfig.parse(config)
        self.config = msgspec.structs.asdict(self.public)
        self.inputs = self.public.inputs

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """Batch and length of the prefix."""
        return default_sizes(self.name, given, {"batch": None, "prefix": None})

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Any size is possible."""

    def build(self) -> nn.Module:
        """The expert under lerobot's names."""
        with public.configuring(self.name):
            return _Policy(self.config).eval()

    def complete(self, module: nn.Module, *, exact: bool) -> None:
        """The frequencies of the time embedding and of the rotary angles."""
        dtype = torch.float64 if exact else torch.float32
        module.model.vlm_with_expert.rotary = _Rotary(self.config["head_dim"], self.config["rope_theta"], dtype)
        module.model.time = _TimeEmbedding(self.config)

    def forward(self, module: nn.Module, inputs: Batch) -> torch.Tensor:
        """Velocity [B, A, D]."""
        velocity: torch.Tensor = module(
            inputs["noisy_actions"], inputs["timestep"], inputs["prefix_keys"], inputs["prefix_values"]
        )
        return velocity

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """Mean squared error."""
        return functional.mse_loss(output, inputs["target"])

    def distribution(self, name: str, shape: tuple[int, ...]) -> seeded.Distribution:
        """The common rule."""
        return seeded.parameter(name, shape)


class _Policy(nn.Module):
    """The outermost module, which gives every name its first `model.`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = _FlowMatching(config)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        velocity: torch.Tensor = self.model(*inputs)
        return velocity


class _FlowMatching(nn.Module):
    """Projections of actions and time around the expert."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        hidden, width = config["hidden_size"], config["max_action_dim"]
        self.action_in_proj = nn.Linear(width, hidden)
        self.action_out_proj = nn.Linear(hidden, width)
        self.action_time_mlp_in = nn.Linear(2 * hidden, hidden)
        self.action_time_mlp_out = nn.Linear(hidden, hidden)
        self.vlm_with_expert = _WithExpert(config)

    def forward(
        self, actions: torch.Tensor, timestep: torch.Tensor, prefix_keys: torch.Tensor, prefix_values: torch.Tensor
    ) -> torch.Tensor:
        embedded = self.action_in_proj(actions)
        time = self.time(timestep).to(embedded.dtype)[:, None].expand_as(embedded)
        mixed = functional.silu(self.action_time_mlp_in(torch.cat((embedded, time), -1)))
        hidden = self.vlm_with_expert(self.action_time_mlp_out(mixed), prefix_keys, prefix_values)
        velocity: torch.Tensor = self.action_out_proj(hidden)
        return velocity


class _WithExpert(nn.Module):
    """The expert's layers; the language model beside it in lerobot's module has no part in a denoising step."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.lm_expert = nn.Module()
        self.lm_expert.layers = nn.ModuleList(_Layer(config, index) for index in range(config["num_hidden_layers"]))
        self.lm_expert.norm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])

    def forward(self, hidden: torch.Tensor, prefix_keys: torch.Tensor, prefix_values: torch.Tensor) -> torch.Tensor:
        actions, prefix = hidden.shape[1], prefix_keys.shape[2]
        after_prefix = self.rotary(prefix, actions, hidden.dtype)
        from_zero = self.rotary(0, actions, hidden.dtype)
        # The whole prefix is visible; an action sees itself and those before it.
        visible = torch.ones(actions, prefix + actions, dtype=torch.bool, device=hidden.device).tril(prefix)
        for layer, keys, values in zip(self.lm_expert.layers, prefix_keys, prefix_values, strict=True):
            angles, mask = (after_prefix, visible) if layer.self_attn.own else (from_zero, None)
            hidden = layer(hidden, keys, values, angles, mask)
        normed: torch.Tensor = self.lm_expert.norm(hidden)
        return normed


class _Layer(nn.Module):
    """Attention and a gated feed-forward layer, each behind an RMS norm."""

    def __init__(self, config: dict[str, Any], index: int) -> None:
        super().__init__()
        hidden, eps = config["hidden_size"], config["rms_norm_eps"]
        self.input_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.self_attn = _Attention(config, own=index % config["self_attn_every_n_layers"] == 0)
        self.post_attention_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.mlp = _Mlp(hidden, config["intermediate_size"])

    def forward(
        self,
        hidden: torch.Tensor,
        prefix_keys: torch.Tensor,
        prefix_values: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), prefix_keys, prefix_values, angles, mask)
        output: torch.Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output


class _Attention(nn.Module):
    """Attention of the actions to prefix and actions (`own`), or to projections of the prefix."""

    def __init__(self, config: dict[str, Any], *, own: bool) -> None:
        super().__init__()
        self.own = own
        self.width = config["head_dim"]
        queries = config["num_attention_heads"] * self.width
        keys = config["num_key_value_heads"] * self.width
        hidden = config["hidden_size"]
        self.q_proj = nn.Linear(hidden, queries, bias=False)
        self.k_proj = nn.Linear(hidden if own else keys, keys, bias=False)
        self.v_proj = nn.Linear(hidden if own else keys, keys, bias=False)
        self.o_proj = nn.Linear(queries, hidden, bias=False)

    def forward(
        self,
        hidden: torch.Tensor,
        prefix_keys: torch.Tensor,
        prefix_values: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """From hidden [B, A, C] and prefix [B, S, H, E] to [B, A, C]."""
        queries = _rotated(self._heads(self.q_proj(hidden)), angles)
        if self.own:
            keys = torch.cat((prefix_keys, _rotated(self._heads(self.k_proj(hidden)), angles)), 1)
            values = torch.cat((prefix_values, self._heads(self.v_proj(hidden))), 1)
        else:
            keys = self._heads(self.k_proj(prefix_keys.flatten(2)))
            values = self._heads(self.v_proj(prefix_values.flatten(2)))
        attended = functional.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, enable_gqa=True
        )
        output: torch.Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))
        return output

    def _heads(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, self.width))


class _Mlp(nn.Module):
    """Gated feed-forward layer."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return output


class _Rotary(nn.Module):
    """Rotary angles of consecutive positions, over the halves of a head, computed in `dtype`."""

    def __init__(self, width: int, theta: float, dtype: torch.dtype) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=dtype) / width
        self.register_buffer("frequencies", theta**-exponents, persistent=False)

    def forward(self, first: int, count: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine [count, 1, E / 2] at `first`, `first + 1`, ..."""
        frequencies = self.frequencies
        positions = torch.arange(first, first + count, dtype=frequencies.dtype, device=frequencies.device)
        angles = positions[:, None, None] * frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotated(values: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Heads [B, A, H, E] rotated: pairs are an element of the first half and the same of the second."""
    cosine, sine = angles
    first, second = values.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


class _TimeEmbedding(nn.Module):
    """[sin, cos] of `2 pi t / period`, periods geometric from `min_period` to `max_period`; float64, as in lerobot."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        low, high = config["min_period"], config["max_period"]
        periods = low * (high / low) ** torch.linspace(0.0, 1.0, config["hidden_size"] // 2, dtype=torch.float64)
        self.register_buffer("frequencies", 2.0 * math.pi / periods, persistent=False)

    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        """Embedding [B, C]."""
        angles = timestep.to(self.frequencies.dtype)[:, None] * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), -1)
