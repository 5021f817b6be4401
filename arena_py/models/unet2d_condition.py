"""`unet2d-condition`: diffusers' `UNet2DConditionModel`, the denoiser of Stable Diffusion 1.5."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional

from arena_py.contract.adapter import RunnerError
from arena_py.models import angles, seeded
from arena_py.models import config as public
from arena_py.models.inputs import InputSpec, Normal, Uniform, default_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arena_py.contract.messages import TaskName
    from arena_py.models.architecture import Batch

KEYS = frozenset(inspect.signature(UNet2DConditionModel.__init__).parameters) - {"self"}
FIXED = {
    # Each of these asks for an input that the contract does not have.
    "class_embed_type": None,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "num_class_embeds": None,
    "time_cond_proj_dim": None,
    "projection_class_embeddings_input_dim": None,
    # diffusers refuses it.
    "num_attention_heads": None,
    # Nothing is dropped in evaluation mode, which every task here uses.
    "dropout": 0.0,
    # Half of the computation would stay in float32 in the reference.
    "upcast_attention": False,
    "time_embedding_type": "positional",
}
NULLABLE = frozenset({"mid_block_type", "norm_num_groups"})
"""Keys whose null is a choice, not an absence."""
TRAINING_STEPS = 1000
"""The number of time steps of Stable Diffusion's noise schedule."""


class UNet2DCondition:
    """Denoiser: `sample`, `timestep` and `encoder_hidden_states` -> `sample_out`.

    Raises:
        RunnerError: `unsupported`, naming the configuration key.
    """

    name = "unet2d-condition"
    output = "sample_out"
    frozen: frozenset[str] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        for key in NULLABLE & config.keys():
            if config[key] is None:
                raise RunnerError("unsupported", f"{self.name}: config key `{key}` = None is not supported")
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
        image = ("height", "width")
        self.inputs = (
            InputSpec("sample", ("batch", read.in_channels, *image), Normal()),
            InputSpec("timestep", ("batch",), Uniform(0.0, TRAINING_STEPS, whole=True)),
            InputSpec("encoder_hidden_states", ("batch", "seq", read.cross_attention_dim), Normal()),
            InputSpec("target", ("batch", read.out_channels, *image), Normal(), training=True),
        )

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
