"""The tasks of the contract on a torch module."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from arena_py.contract.adapter import Output, RunnerError
from arena_py.contract.messages import Sgd, TaskOptions
from arena_py.frameworks.pytorch import memory_errors
from arena_py.models.architecture import Decoder
from arena_py.models.inputs import take

if TYPE_CHECKING:
    import numpy as np

    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import BoundaryName, Optimizer, TaskName
    from arena_py.frameworks.pytorch import TorchModel


def program(model: TorchModel, task: TaskName, options: TaskOptions, inputs: Tensors) -> TorchProgram:
    """The program of a task.

    Raises:
        RunnerError: `invalid_inputs`.
    """
    match task:
        case "infer":
            return Infer(model, task, inputs)
        case "decode":
            return Decode(model, inputs, options.new_tokens or 1)
        case "train":
            return Train(model, task, inputs)
        case "step":
            assert options.optimizer is not None
            return Step(model, inputs, options.optimizer)


class TorchProgram:
    """What the tasks share: inputs where the boundary wants them, results where the boundary wants them.

    On the CPU the two boundaries are one. On a device, `host` starts from the inputs in host memory and ends when
    every output is back there; `device` ends when the device is idle. What CUDA moves is in page-locked memory on the
    host's side, which is kept: through other memory a copy goes by way of a buffer of the driver, at a tenth of the
    speed, and every tensor is waited for.
    https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
    """

    def __init__(self, model: TorchModel, task: TaskName, inputs: Tensors, new_tokens: int = 0) -> None:
        self.model = model
        self.architecture = model.architecture
        self.module = model.module
        self._task: TaskName = task
        self._new_tokens = new_tokens
        self._on_host: dict[str, np.ndarray[Any, Any]] = {}
        self._landing: dict[str, torch.Tensor] = {}
        self.bind(inputs)

    def bind(self, inputs: Tensors) -> None:
        """Take other input values.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        arrays, sizes = take(self.architecture.inputs, inputs, self._task)
        self.architecture.check(sizes, self._task, self._new_tokens)
        host = {name: self._cast(torch.tensor(values)) for name, values in arrays.items()}
        self._host = {name: values.pin_memory() for name, values in host.items()} if self._is_cuda else host
        self.inputs = self._upload()

    def _cast(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.model.dtype) if values.is_floating_point() else values

    def _upload(self) -> dict[str, torch.Tensor]:
        return {name: values.to(self.model.device, non_blocking=self._is_cuda) for name, values in self._host.items()}

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once; for `decode`, the nanoseconds to the first new token."""
        with memory_errors():
            self._release()
            across = boundary == "host" and self.model.device.type != "cpu"
            if across:
                self.inputs = self._upload()
            first_token_ns = self._compute()
            if across:
                self._on_host = self._landed() if self._is_cuda else _arrays(self._results())
            else:
                self._synchronise()
            return first_token_ns

    @property
    def _is_cuda(self) -> bool:
        kind: str = self.model.device.type
        return kind == "cuda"

    def _landed(self) -> dict[str, np.ndarray[Any, Any]]:
        """The results in page-locked memory of the host: all copies are queued, and waited for together."""
        results = {name: _wide(values) for name, values in self._results().items()}
        for name, values in results.items():
            landing = self._landing.get(name)
            if landing is None or landing.shape != values.shape:
                landing = self._landing[name] = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            landing.copy_(values, non_blocking=True)
        self._synchronise()
        return {name: self._landing[name].numpy() for name in results}

    def _release(self) -> None:
        """Let go of the results of the execution before, so that the next one's are not beside them in memory."""
        self._on_host = {}

    def _compute(self) -> int | None:
        raise AssertionError("every task has its own")

    def _results(self) -> dict[str, torch.Tensor]:
        raise AssertionError("every task has its own")

    def _synchronise(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize(self.model.device)
        elif self.model.device.type == "mps":
            torch.mps.synchronize()
        elif self.model.device.type == "xpu":
            torch.xpu.synchronize(self.model.device)

    def outputs(self) -> Iterator[Output]:
        """The results of the latest execution, each fetched when it is written."""
        for name, values in self._results().items():
            yield Output(
                name, partial(self._on_host.__getitem__, name) if name in self._on_host else partial(_array, values)
            )


def _wide(values: torch.Tensor) -> torch.Tensor:
    # Outputs are float32 whatever the precision; numpy has no bfloat16.
    return (values.float() if values.dtype == torch.bfloat16 else values).detach()


def _array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = _wide(values).cpu().numpy()
    return array


def _arrays(results: dict[str, torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: _array(values) for name, values in results.items()}


class Infer(TorchProgram):
    """One forward pass."""

    _output: torch.Tensor | None = None

    def _release(self) -> None:
        super()._release()
        self._output = None

    def _compute(self) -> None:
        with torch.inference_mode():
            self._output = self.architecture.forward(self.module, self.inputs)

    def _results(self) -> dict[str, torch.Tensor]:
        return {} if self._output is None else {self.architecture.output: self._output}


class Decode(TorchProgram):
    """Greedy generation with a key/value cache."""

    def __init__(self, model: TorchModel, inputs: Tensors, new_tokens: int) -> None:
        assert isinstance(model.architecture, Decoder)
        self._decoder: Decoder = model.architecture
        self._generated: tuple[torch.Tensor, torch.Tensor] | None = None
        super().__init__(model, "decode", inputs, new_tokens)

    def _release(self) -> None:
        super()._release()
        self._generated = None

    def _compute(self) -> int:
        start = time.perf_counter_ns()
        first_token_ns = 0

        def on_first() -> None:
            nonlocal first_token_ns
            self._synchronise()
            first_token_ns = time.perf_counter_ns() - start

        with torch.inference_mode():
            self._generated = self._decoder.decode(self.module, self.inputs, self._new_tokens, on_first)
        return first_token_ns

    def _results(self) -> dict[str, torch.Tensor]:
        return (
            {}
            if self._generated is None
            else dict(zip(("tokens", self.architecture.output), self._generated, strict=True))
        )


class Train(TorchProgram):
    """Forward, loss and the gradient of every trainable parameter; nothing is kept of the execution before."""

    _loss: torch.Tensor | None = None

    def _release(self) -> None:
        super()._release()
        self._loss = None
        self.module.zero_grad(set_to_none=True)

    def _compute(self) -> None:
        loss = self._compute_loss()
        loss.backward()
        self._loss = loss.detach()

    def _compute_loss(self) -> torch.Tensor:
        return self.architecture.loss(self.architecture.forward(self.module, self.inputs), self.inputs)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: value for name, value in self.module.named_parameters() if value.requires_grad}

    def _results(self) -> dict[str, torch.Tensor]:
        if self._loss is None:
            return {}
        # A parameter that the loss does not depend on has no gradient in torch; as a number it is zero.
        gradients = {
            f"grad.{name}": torch.zeros_like(value) if value.grad is None else value.grad
            for name, value in self._trained().items()
        }
        return {"loss": self._loss, **gradients}


class Step(Train):
    """`train`, then the optimizer's update of the parameters."""

    def __init__(self, model: TorchModel, inputs: Tensors, optimizer: Optimizer) -> None:
        super().__init__(model, "step", inputs)
        self._optimizer = _optimizer(optimizer, list(self._trained().values()))

    def _compute(self) -> None:
        super()._compute()
        self._optimizer.step()

    def _results(self) -> dict[str, torch.Tensor]:
        if self._loss is None:
            return {}
        return {"loss": self._loss, **{f"param.{name}": value for name, value in self._trained().items()}}


def _optimizer(options: Optimizer, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    try:
        if isinstance(options, Sgd):
            return torch.optim.SGD(parameters, lr=options.lr)
        return torch.optim.AdamW(
            parameters, lr=options.lr, betas=options.betas, eps=options.eps, weight_decay=options.weight_decay
        )
    except ValueError as error:
        raise RunnerError("invalid_request", f"options.optimizer: {error}") from error
