"""The mistakes of `frameworks/defects.py` in gradients, in updates and in what is output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from arena_py.contract.messages import AdamW
from arena_py.frameworks.change import Change
from arena_py.frameworks.torch_programs import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arena_py.contract.adapter import Output, Program, Tensors
    from arena_py.contract.messages import BoundaryName
    from arena_py.frameworks.pytorch import TorchModel


class _MaxForwardAverageBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: torch.Tensor, pool: nn.MaxPool2d) -> torch.Tensor:
        context.save_for_backward(values)
        context.pool = pool
        return pool(values)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (values,) = context.saved_tensors
        pool = context.pool
        with torch.enable_grad():
            again = values.detach().requires_grad_()
            average = functional.avg_pool2d(again, pool.kernel_size, pool.stride, pool.padding)
        return torch.autograd.grad(average, again, gradient)[0], None


class _AveragePoolGradient(Change):
    """Forward is right."""

    def model(self, model: TorchModel) -> None:
        embedder = model.module.resnet.embedder
        pool = embedder.pooler
        pool_forward = nn.MaxPool2d(pool.kernel_size, pool.stride, pool.padding)
        pool.forward = lambda values: _MaxForwardAverageBackward.apply(values, pool_forward)


def _chosen(module: nn.Module) -> tuple[str, nn.Parameter]:
    """The parameter whose gradient is tampered with: a matrix in the middle of the model."""
    matrices = [(name, value) for name, value in module.named_parameters() if value.requires_grad and value.dim() > 1]
    return matrices[len(matrices) // 2]


class _WithoutOne:
    """A program that leaves one output out."""

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self._name = name

    def bind(self, inputs: Tensors) -> None:
        self._program.bind(inputs)

    def execute(self, boundary: BoundaryName) -> int | None:
        return self._program.execute(boundary)

    def outputs(self) -> Iterator[Output]:
        return (output for output in self._program.outputs() if output.name != self._name)


class _GradientMissing(Change):
    """Not output."""

    def __init__(self) -> None:
        self._name = ""

    def model(self, model: TorchModel) -> None:
        self._name = f"grad.{_chosen(model.module)[0]}"

    def program(self, program: Program) -> Program:
        return _WithoutOne(program, self._name)


class _GradientZero(Change):
    """After every backward pass."""

    def model(self, model: TorchModel) -> None:
        def zero(parameter: torch.Tensor) -> None:
            assert parameter.grad is not None
            parameter.grad.zero_()

        _chosen(model.module)[1].register_post_accumulate_grad_hook(zero)


class _GradientStale(Change):
    """That of the first backward pass, after every later one."""

    def model(self, model: TorchModel) -> None:
        first: list[torch.Tensor] = []

        def keep(parameter: torch.Tensor) -> None:
            assert parameter.grad is not None
            if first:
                parameter.grad.copy_(first[0])
            else:
                first.append(parameter.grad.clone())

        _chosen(model.module)[1].register_post_accumulate_grad_hook(keep)


class _TiedGradientOnce(Change):
    """No gradient flows into the table where it embeds."""

    def model(self, model: TorchModel) -> None:
        inner = model.module.model
        embedding = inner.embed_tokens if model.architecture.name == "llama" else inner.decoder.embed_tokens
        embedding.forward = lambda ids: functional.embedding(ids, embedding.weight.detach())


class _Uncorrected(torch.optim.AdamW):
    """AdamW by its definition, the correction of the moments left out."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # noqa: ARG002 (torch's signature)
        for group in self.param_groups:
            first_beta, second_beta = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                first = state.setdefault("first", torch.zeros_like(parameter))
                second = state.setdefault("second", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                first.lerp_(parameter.grad, 1 - first_beta)
                second.mul_(second_beta).addcmul_(parameter.grad, parameter.grad, value=1 - second_beta)
                parameter.addcdiv_(first, second.sqrt().add_(group["eps"]), value=-group["lr"])


class _NoBiasCorrection(Change):
    """Another optimizer in the place of AdamW."""

    def program(self, program: Program) -> Program:
        if isinstance(program, Step) and isinstance(right := program._optimizer, torch.optim.AdamW):
            (group,) = right.param_groups
            options = {name: group[name] for name in AdamW.__struct_fields__}
            program._optimizer = _Uncorrected(group["params"], **options)
        return program


class _Executed:
    """A program that executes once and then says the same for ever."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._executed = False
        self._first_token_ns: int | None = None

    def bind(self, inputs: Tensors) -> None:
        self._program.bind(inputs)

    def execute(self, boundary: BoundaryName) -> int | None:
        if not self._executed:
            first_token_ns = self._program.execute(boundary)
            # The first token of a cached answer is there at once.
            self._executed, self._first_token_ns = True, None if first_token_ns is None else 1
        return self._first_token_ns

    def outputs(self) -> Iterator[Output]:
        return self._program.outputs()


class _CachedOutputs(Change):
    """Nothing is computed again."""

    def program(self, program: Program) -> Program:
        return _Executed(program)


TRAINING_CHANGES: dict[str, Callable[[], Change]] = {
    "average-pool-gradient": _AveragePoolGradient,
    "gradient-missing": _GradientMissing,
    "gradient-stale": _GradientStale,
    "gradient-zero": _GradientZero,
    "tied-gradient-once": _TiedGradientOnce,
    "no-bias-correction": _NoBiasCorrection,
    "cached-outputs": _CachedOutputs,
}
"""By the name of the defect; each load gets one of its own."""
