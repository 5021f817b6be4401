"""The mistakes that the gate must catch: what each one is, and on which cases it shows.

`frameworks/wrong.py` makes each of them from the PyTorch runner by one change. This table needs no torch: the driver
reads it to know which cases a mistake applies to, from the configuration alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from arena_py.contract.messages import AdamW, Optimizer, TaskName

TRAINING = ("train", "step")
FIRST_NORMALISED: Mapping[str, tuple[str, ...]] = {
    "llama": ("model.embed_tokens.weight",),
    "smolvla-expert": ("model.action_time_mlp_out.weight", "model.action_time_mlp_out.bias"),
    "unet2d-condition": ("conv_in.weight", "conv_in.bias"),
    "resnet": (
        "resnet.embedder.embedder.convolution.weight",
        "resnet.embedder.embedder.normalization.running_mean",
    ),
    "whisper": ("model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"),
}
"""The parameters that are linear in what an architecture's first normalisation sees."""
FIRST_VARIANCE: Mapping[str, tuple[str, ...]] = {"resnet": ("resnet.embedder.embedder.normalization.running_var",)}
"""Stored variances of the same activations."""
SMALL = 2.0**-7
"""What they are scaled by in a case with small activations; a power of two, so that no value is rounded."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a mistake may or may not show on: a case, by its configuration."""

    architecture: str
    config: Mapping[str, Any]
    task: TaskName
    sizes: Mapping[str, int]
    optimizer: Optimizer | None = None
    rebinds: bool = True
    """Whether other inputs are bound before the outputs are compared."""
    small: bool = False
    """Whether the activations in front of the first normalisation are small."""

    def get(self, key: str, default: Any = None) -> Any:
        """A key of the configuration."""
        value = self.config.get(key)
        return default if value is None else value

    @property
    def training(self) -> bool:
        """Whether there are gradients."""
        return self.task in TRAINING

    @property
    def positions(self) -> int:
        """Length of the sequence whose positions see one another."""
        if self.architecture == "smolvla-expert":
            return int(self.get("chunk_size", 1))
        return self.sizes.get("seq", 1) if self.architecture in ("llama", "whisper") else 1

    @property
    def rotary_positions(self) -> int:
        """How many positions the angles of attention tell apart."""
        if self.architecture == "llama":
            return self.positions + (1 if self.task == "decode" else 0)
        return self.positions if self.architecture == "smolvla-expert" else 1

    @property
    def head_width(self) -> int:
        """Of rotary attention; 0 where there is none."""
        if self.architecture not in ("llama", "smolvla-expert"):
            return 0
        heads = self.get("num_attention_heads", 1)
        return int(self.get("head_dim", self.get("hidden_size", 0) // heads))


Applies: TypeAlias = Callable[[Subject], bool]


@dataclass(frozen=True)
class Defect:
    """One mistake."""

    name: str
    what: str
    """The one change, for the tables."""
    applies: Applies = field(repr=False, default=lambda _: True)


def _rotates(subject: Subject) -> bool:
    # A head of two elements has one pair and the frequency 1, whatever the base.
    return subject.rotary_positions > 1 and subject.head_width > 2


def _masks(subject: Subject) -> bool:
    return subject.positions > 1


def _groups(subject: Subject) -> bool:
    if subject.architecture not in ("llama", "smolvla-expert"):
        return False
    heads = subject.get("num_attention_heads", 1)
    return 1 < int(subject.get("num_key_value_heads", heads)) < int(heads)


def _erf(subject: Subject) -> bool:
    if subject.architecture == "unet2d-condition":
        # Without these keys the configuration is the public one, whose blocks have cross attention.
        blocks = (*subject.get("down_block_types", ("CrossAttn",)), *subject.get("up_block_types", ("CrossAttn",)))
        return subject.get("act_fn") == "gelu" or any("CrossAttn" in block for block in blocks)
    if subject.architecture == "whisper":
        return bool(subject.get("activation_function", "gelu") == "gelu")
    return bool(subject.get("hidden_act") == "gelu")


def _last_only(subject: Subject) -> bool:
    # `decode` outputs the last position of each pass only.
    return subject.positions > 1 and subject.task != "decode"


def _skippable(subject: Subject) -> bool:
    # A layer without a shortcut of its own can be left out: the second one of a stage.
    return subject.architecture != "resnet" or max(subject.get("depths", (3, 4, 6, 3))) > 1


def _tied(subject: Subject) -> bool:
    usual = {"llama": False, "whisper": True}
    return (
        subject.training
        and subject.architecture in usual
        and bool(subject.get("tie_word_embeddings", usual[subject.architecture]))
    )


def _in(*architectures: str) -> Applies:
    return lambda subject: subject.architecture in architectures


DEFECTS = {
    defect.name: defect
    for defect in (
        Defect("zero-weights", "every parameter is zero"),
        Defect("rope-base", "rotary angles of base 10000 where another is configured, of 100000 otherwise", _rotates),
        Defect("rope-pairs", "rotary angles turn adjacent pairs instead of halves", _rotates),
        Defect("no-causal-mask", "attention sees later positions", _masks),
        Defect("grouped-heads", "key/value heads are repeated as a whole, not one by one", _groups),
        Defect("tanh-gelu", "GELU by tanh instead of erf", _erf),
        Defect("norm-epsilon", "a tenth of the normalisations' epsilon", lambda subject: subject.small),
        Defect("last-position-only", "every position but the last is zero", _last_only),
        Defect("skipped-layer", "one layer is left out", _skippable),
        Defect("float16", "operands and results of matrix products in float16"),
        Defect("bfloat16", "operands and results of matrix products in bfloat16"),
        Defect("tf32", "operands of matrix products with the 10 bits of TF32"),
        Defect("skip-order", "the UNet's skip connections of one shape in reverse order", _in("unet2d-condition")),
        Defect(
            "average-pool-gradient",
            "max pooling passes gradients back as average pooling does",
            lambda subject: subject.training and subject.architecture == "resnet",
        ),
        Defect(
            "loss-not-shifted",
            "each position is compared with its own label instead of the next",
            lambda subject: subject.training and subject.architecture == "llama",
        ),
        Defect("gradient-missing", "one parameter's gradient is not output", lambda subject: subject.task == "train"),
        Defect(
            "gradient-stale",
            "one parameter's gradient is that of the first execution",
            lambda subject: subject.training and subject.rebinds,
        ),
        Defect("gradient-zero", "one parameter's gradient is zero", lambda subject: subject.training),
        Defect("tied-gradient-once", "a tied embedding gets the gradient of the output layer alone", _tied),
        Defect(
            "no-bias-correction",
            "AdamW uses its moments without correcting their bias",
            lambda subject: subject.task == "step" and isinstance(subject.optimizer, AdamW),
        ),
        Defect("cached-outputs", "outputs are those of the first execution", lambda subject: subject.rebinds),
    )
}
"""By name, which is also the backend that the runner `wrong` loads it as."""


def applicable(subject: Subject) -> list[Defect]:
    """The mistakes that must show on a case."""
    if subject.small:
        return [DEFECTS["norm-epsilon"]]
    return [defect for defect in DEFECTS.values() if defect.applies(subject)]
