"""The mistakes of `frameworks/defects.py` in what is computed, each as one change of PyTorch's runner."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import torch
from torch import nn
from torch.nn import functional

from arena_py.frameworks import rounding
from arena_py.frameworks.change import Change
from arena_py.models import smolvla_expert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arena_py.frameworks.pytorch import TorchModel
    from arena_py.models.architecture import Batch

EPSILONS = ("eps", "variance_epsilon")
"""The names that modules of normalisation have for it."""


class _ZeroWeights(Change):
    """Every parameter is zero."""

    def model(self, model: TorchModel) -> None:
        with torch.no_grad():
            for parameter in model.module.parameters():
                parameter.zero_()


class _RopeBase(Change):
    """Another base of the rotary angles."""

    def model(self, model: TorchModel) -> None:
        if model.architecture.name == "llama":
            rotary, name = model.module.model.rotary_emb, "inv_freq"
        else:
            rotary, name = model.module.model.vlm_with_expert.rotary, "frequencies"
        frequencies = getattr(rotary, name)
        # The second frequency is theta^(-2/d): with the usual base, take the other one.
        width = 2 * len(frequencies)
        usual = 10_000.0 ** (-2.0 / width)
        theta = 100_000.0 if abs(float(frequencies[1]) - usual) < 1e-3 * usual else 10_000.0
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        frequencies.copy_(theta**-exponents)


def _pairs(values: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotate elements 2i and 2i + 1 of a head by angle i."""
    even, odd = values[..., 0::2], values[..., 1::2]
    return torch.stack((even * cosine - odd * sine, odd * cosine + even * sine), -1).flatten(-2)


def _llama_pairs(
    queries: torch.Tensor, keys: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    half = queries.shape[-1] // 2
    angles = cosine[:, None, :, :half], sine[:, None, :, :half]
    return _pairs(queries, *angles), _pairs(keys, *angles)


class _RopePairs(Change):
    """Adjacent pairs."""

    def __init__(self) -> None:
        self._scope: Callable[[], AbstractContextManager[Any]] = nullcontext

    def scope(self) -> AbstractContextManager[Any]:
        return self._scope()

    def model(self, model: TorchModel) -> None:
        if model.architecture.name == "llama":
            from transformers.models.llama import modeling_llama  # noqa: PLC0415 (seconds)

            self._scope = lambda: mock.patch.object(modeling_llama, "apply_rotary_pos_emb", _llama_pairs)
        else:
            self._scope = lambda: mock.patch.object(
                smolvla_expert, "_rotated", lambda values, angles: _pairs(values, *angles)
            )


ATTENTION = functional.scaled_dot_product_attention


def _unmasked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
    return ATTENTION(query, key, value, **(options | {"attn_mask": None, "is_causal": False}))


def _tiled(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
    times = query.shape[1] // key.shape[1]
    options.pop("enable_gqa", None)
    return ATTENTION(query, key.repeat(1, times, 1, 1), value.repeat(1, times, 1, 1), **options)


class _NoCausalMask(Change):
    """No mask at all."""

    def scope(self) -> AbstractContextManager[Any]:
        return mock.patch.object(functional, "scaled_dot_product_attention", _unmasked)


class _GroupedHeads(Change):
    """Query head h reads key head h modulo their number."""

    def scope(self) -> AbstractContextManager[Any]:
        # With this set, transformers leaves the repetition to the attention function.
        forced = mock.patch.dict("os.environ", {"TRANSFORMERS_SDPA_FORCE_GQA": "1"})
        return _Both(forced, mock.patch.object(functional, "scaled_dot_product_attention", _tiled))


class _Both(AbstractContextManager[None]):
    def __init__(self, *scopes: AbstractContextManager[Any]) -> None:
        self._scopes = scopes

    def __enter__(self) -> None:
        for scope in self._scopes:
            scope.__enter__()

    def __exit__(self, *error: Any) -> None:
        for scope in reversed(self._scopes):
            scope.__exit__(*error)


GELU = functional.gelu


def _tanh_gelu(values: torch.Tensor, approximate: str = "none") -> torch.Tensor:  # noqa: ARG001 (that is the mistake)
    return GELU(values, approximate="tanh")


class _TanhGelu(Change):
    """The approximation."""

    def scope(self) -> AbstractContextManager[Any]:
        return mock.patch.object(functional, "gelu", _tanh_gelu)


class _NormEpsilon(Change):
    """A tenth of it, in every normalisation."""

    def model(self, model: TorchModel) -> None:
        for module in model.module.modules():
            for name in EPSILONS:
                if isinstance(value := getattr(module, name, None), float):
                    setattr(module, name, value / 10)


class _Architecture:
    """An architecture of which a subclass does one thing otherwise."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _LastOnly(_Architecture):
    def forward(self, module: nn.Module, inputs: Batch) -> torch.Tensor:
        output = self._inner.forward(module, inputs)
        last = torch.zeros_like(output)
        last[:, -1] = 1
        zeroed: torch.Tensor = output * last
        return zeroed


class _NotShifted(_Architecture):
    def loss(self, output: torch.Tensor, inputs: Batch) -> torch.Tensor:
        return functional.cross_entropy(output.flatten(0, 1), inputs["labels"].flatten())


class _LastPositionOnly(Change):
    """The others are zero."""

    def model(self, model: TorchModel) -> None:
        model.architecture = cast("Any", _LastOnly(model.architecture))


class _LossNotShifted(Change):
    """Every position against the label at the same position."""

    def model(self, model: TorchModel) -> None:
        model.architecture = cast("Any", _NotShifted(model.architecture))


def _identity(hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden


class _SkippedLayer(Change):
    """Its output is its input."""

    def model(self, model: TorchModel) -> None:
        module = model.module
        match model.architecture.name:
            case "llama":
                layer = module.model.layers[-1]
            case "whisper":
                layer = module.model.decoder.layers[-1]
            case "smolvla-expert":
                layer = module.model.vlm_with_expert.lm_expert.layers[-1]
            case "unet2d-condition":
                layer = module.mid_block.resnets[-1]
            case _:
                layer = next(stage.layers[1] for stage in module.resnet.encoder.stages if len(stage.layers) > 1)
        layer.forward = _identity


class _Float16(Change):
    """Operands and results."""

    def scope(self) -> AbstractContextManager[Any]:
        return rounding.Rounded(rounding.through(torch.float16), results=True)


class _BFloat16(Change):
    """Operands and results."""

    def scope(self) -> AbstractContextManager[Any]:
        return rounding.Rounded(rounding.through(torch.bfloat16), results=True)


class _Tf32(Change):
    """Operands."""

    def scope(self) -> AbstractContextManager[Any]:
        return rounding.Rounded(rounding.to_tf32, results=False)


class _SkipOrder(Change):
    """Within what each block of the way up receives; where shapes differ torch would refuse."""

    def model(self, model: TorchModel) -> None:
        for block in model.module.up_blocks:
            block.forward = _reordering(block.forward)


def _reordering(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def reordered(*args: Any, res_hidden_states_tuple: Sequence[torch.Tensor], **options: Any) -> torch.Tensor:
        by_shape: dict[torch.Size, list[torch.Tensor]] = {}
        for skip in res_hidden_states_tuple:
            by_shape.setdefault(skip.shape, []).append(skip)
        # The last of each shape takes the place of the first.
        skips = tuple(by_shape[skip.shape].pop() for skip in res_hidden_states_tuple)
        return forward(*args, res_hidden_states_tuple=skips, **options)

    return reordered


FORWARD_CHANGES: dict[str, Callable[[], Change]] = {
    "zero-weights": _ZeroWeights,
    "rope-base": _RopeBase,
    "rope-pairs": _RopePairs,
    "no-causal-mask": _NoCausalMask,
    "grouped-heads": _GroupedHeads,
    "tanh-gelu": _TanhGelu,
    "norm-epsilon": _NormEpsilon,
    "last-position-only": _LastPositionOnly,
    "skipped-layer": _SkippedLayer,
    "float16": _Float16,
    "bfloat16": _BFloat16,
    "tf32": _Tf32,
    "skip-order": _SkipOrder,
    "loss-not-shifted": _LossNotShifted,
}
"""By the name of the defect; each load gets one of its own."""
