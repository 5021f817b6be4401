"""`unet2d-condition`: diffusers' `UNet2DConditionModel`, the denoiser of Stable Diffusion 1.5."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional

from arena_py.architectures.unet2d_condition import FIXED, inputs, refuse_null
from arena_py.contract.adapter import RunnerError
from arena_py.models import angles, seeded
from arena_py.models import config as public
from arena_py.models.inputs import default_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch

KEYS = frozenset(inspect.signature(UNet2DConditionModel.__init__).parameters) - {"self"}


class UNet2DCondition:
    """Denoiser: `sample`, `timestep` and `encoder_hidden_states` -> `sample_out`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "unet2d-condition"
    output = "sample_out"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        refuse_null(config)
        self.config = public.honoured(self.name, config, keys=KEYS, fixed=FIXED)
        with public.configuring(self.name), torch.device("meta"):
            read = UNet2DConditionModel(**self.config).config
        if not isinstance(read.cross_attention_dim, int):
            raise RunnerError("unsupported", f"{self.name}: config key `cross_attention_dim`, only one number")
        self._time = (read.block_out_channels[0], read.freq_shift, read.flip_sin_to_cos)
        if self._time[0] % 2:
            raise RunnerError("unsupported", f"{self.name}: block_out_channels[0] {self._time[0]} is not even")
        size = read.sample_size
        self._default_size: tuple[int | None, int | None] = (
            (size, size) if isinstance(size, int) else tuple(size or (None, None))
        )
        self.inputs = inputs(read.in_channels, read.out_channels, read.cross_attention_dim)

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """Batch, latent height and width (the configuration's when not named), and length of the condition."""
        height, width = self._default_size
        return default_sizes(self.name, given, {"batch": None, "height": height, "width": width, "seq": None})

    def check(self, sizes: Mapping[str, int], task: TaskName, new_tokens: int) -> None:
        """Any size is possible."""

    def build(self) -> torch.nn.Module:
        """`UNet2DConditionModel`."""
        with public.configuring(self.name):
            return UNet2DConditionModel(**self.config).eval()

    def complete(self, module: torch.nn.Module, *, exact: bool) -> None:
        """The angles of the time-step embedding, in float64 for the reference."""
        if exact:
            width, shift, cosine_first = self._time
            module.time_proj = angles.SinusoidalTime(width, shift, cosine_first=cosine_first)

    def forward(self, module: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """Predicted noise [B, C, H, W]."""
        sample: torch.Tensor = module(
            inputs["sample"], inputs["timestep"], inputs["encoder_hidden_states"], return_dict=False
        )[0]
        return sample

    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """Mean squared error."""
        return functional.mse_loss(output, inputs["target"])

    def distribution(self, name: str, shape: tuple[int, ...]) -> seeded.Distribution:
        """The common rule."""
        return seeded.parameter(name, shape)
