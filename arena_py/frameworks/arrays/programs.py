"""The tasks of the contract on a network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_py.architectures import TASKS
from arena_py.contract.adapter import Output, Parameters, RunnerError
from arena_py.frameworks.arrays.network import Decoder, Network
from arena_py.frameworks.arrays.optimizer import optimizer
from arena_py.models.inputs import take

if TYPE_CHECKING:
    from arena_py.architectures import Configuration
    from arena_py.contract.adapter import Program, Tensors
    from arena_py.contract.messages import BoundaryName, Optimizer, TaskName, TaskOptions
    from arena_py.frameworks.arrays.engine import Engine
    from arena_py.frameworks.arrays.ops import Array


@dataclass
class ArrayModel:
    """A network with its parameters on a device, in the framework's own layouts."""

    architecture: str
    config: Configuration
    network: Network
    engine: Engine
    trained: dict[str, Array]
    frozen: dict[str, Array]
    parameters: Parameters

    def prepare(self, task: TaskName, options: TaskOptions, inputs: Tensors) -> Program:
        """The task, compiled for the shapes of the inputs.

        Raises:
            RunnerError: `unsupported`, `invalid_inputs`, `invalid_request` or `out_of_memory`.
        """
        if task not in TASKS[self.architecture]:
            raise RunnerError("unsupported", f"task `{task}` of {self.architecture}")
        with self.engine.memory_errors():
            match task:
                case "infer":
                    return Infer(self, task, inputs)
                case "decode":
                    return Decode(self, task, inputs, options.new_tokens or 1)
                case "train":
                    return Train(self, task, inputs)
                case "step":
                    assert options.optimizer is not None
                    return Step(self, inputs, options.optimizer)

    def public(self, values: Array) -> np.ndarray[Any, Any]:
        """A parameter, or a gradient of one, in the layout of the checkpoint."""
        array = self.engine.get(values)
        axes = self.engine.ops.kernel_axes.get(array.ndim)
        return array.transpose(np.argsort(axes)) if axes else array


class ArrayProgram:
    """What the tasks share: inputs where the boundary wants them, results where the boundary wants them.

    Where the device has the host's memory, the two boundaries are one. Elsewhere `host` starts from the inputs in host
    memory and ends when every output is back there; `device` ends when the device is idle.
    """

    def __init__(self, model: ArrayModel, task: TaskName, inputs: Tensors, new_tokens: int = 0) -> None:
        self.model = model
        self.engine = model.engine
        self.network = model.network
        self._task: TaskName = task
        self._new_tokens = new_tokens
        self._on_host: dict[str, np.ndarray[Any, Any]] | None = None
        self.bind(inputs)

    def bind(self, inputs: Tensors) -> None:
        """Take other input values.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        arrays, sizes = take(self.model.config.inputs, inputs, self._task)
        self.model.config.check(sizes, self._task, self._new_tokens)
        self._host = arrays
        self.inputs = self._upload()

    def _upload(self) -> dict[str, Array]:
        uploaded = {name: self.engine.put(values) for name, values in self._host.items()}
        self.engine.wait(uploaded)
        return uploaded

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once; for `decode`, the nanoseconds to the first new token."""
        with self.engine.memory_errors():
            self._release()
            across = boundary == "host" and self.engine.separate
            if across:
                self.inputs = self._upload()
            first_token_ns = self._compute()
            if across:
                self._on_host = dict(self._fetched())
            return first_token_ns

    def _release(self) -> None:
        """Let go of the results of the execution before, so that the next one's are not beside them in memory."""
        self._on_host = None

    def _compute(self) -> int | None:
        raise AssertionError("every task has its own")

    def _results(self) -> dict[str, Any]:
        """Name and value of every output, on the device."""
        raise AssertionError("every task has its own")

    def _read(self, name: str, values: Any) -> np.ndarray[Any, Any]:
        """An output as the contract wants it."""
        stored = name.startswith(("grad.", "param."))
        return self.model.public(values) if stored else self.engine.get(values)

    def _fetched(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        results = self._results()
        for name, values in zip(results, self.engine.send_home(list(results.values())), strict=True):
            yield name, self._read(name, values)

    def outputs(self) -> Iterator[Output]:
        """The results of the latest execution, each fetched when it is written."""
        if self._on_host is not None:
            for name in self._on_host:
                yield Output(name, partial(self._on_host.__getitem__, name))
        else:
            for name, values in self._results().items():
                yield Output(name, partial(self._read, name, values))


class Infer(ArrayProgram):
    """One forward pass."""

    def __init__(self, model: ArrayModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        self._output: Array | None = None
        self._forward = self.engine.compile(self._whole, model.trained, model.frozen, self.inputs)

    def _whole(self, trained: Any, frozen: Any, inputs: Any) -> Array:
        return self.network.forward({**trained, **frozen}, inputs)

    def _release(self) -> None:
        super()._release()
        self._output = None

    def _compute(self) -> None:
        self._output = self._forward(self.model.trained, self.model.frozen, self.inputs)
        self.engine.wait(self._output)

    def _results(self) -> dict[str, Any]:
        return {} if self._output is None else {self.network.output: self._output}


class Decode(ArrayProgram):
    """Greedy generation with a key/value cache: the prompt in one pass, then a token a pass."""

    def __init__(self, model: ArrayModel, task: TaskName, inputs: Tensors, new_tokens: int) -> None:
        assert isinstance(model.network, Decoder)
        self._decoder: Decoder = model.network
        self._generated: list[tuple[Array, Array]] = []
        super().__init__(model, task, inputs, new_tokens)
        prompt = int(self.inputs[self._decoder.prompt].shape[1])
        fed = range(prompt, prompt + new_tokens - 1)
        self._length = prompt + len(fed)
        self._positions = [self.engine.put(np.array(position, np.int32)) for position in fed]
        self._prefill = self.engine.compile(self._first, model.trained, model.frozen, self.inputs)
        if fed:
            token, _, cache = self.engine.shapes(self._first, model.trained, model.frozen, self.inputs)
            self._extend = self.engine.compile(
                self._next, model.trained, model.frozen, token, cache, self._positions[0], donated=(3,)
            )

    def _first(self, trained: Any, frozen: Any, inputs: Any) -> tuple[Array, Array, Any]:
        logits, cache = self._decoder.prefill({**trained, **frozen}, inputs, self._length)
        return self._chosen(logits), logits, cache

    def _next(self, trained: Any, frozen: Any, token: Array, cache: Any, position: Array) -> tuple[Array, Array, Any]:
        logits, cache = self._decoder.extend({**trained, **frozen}, token, cache, position)
        return self._chosen(logits), logits, cache

    def _chosen(self, logits: Array) -> Array:
        return self.engine.ops.xp.argmax(logits, axis=-1)[:, None]

    def _release(self) -> None:
        super()._release()
        self._generated = []

    def _compute(self) -> int:
        start = time.perf_counter_ns()
        trained, frozen = self.model.trained, self.model.frozen
        token, logits, cache = self._prefill(trained, frozen, self.inputs)
        self.engine.wait(token)
        first_token_ns = time.perf_counter_ns() - start
        self._generated.append((token, logits))
        for position in self._positions:
            token, logits, cache = self._extend(trained, frozen, token, cache, position)
            self.engine.wait(token)
            self._generated.append((token, logits))
        self.engine.wait(self._generated)
        return first_token_ns

    def _results(self) -> dict[str, Any]:
        if not self._generated:
            return {}
        tokens, logits = zip(*self._generated, strict=True)
        return {"tokens": tokens, self.network.output: logits}

    def _read(self, name: str, values: Any) -> np.ndarray[Any, Any]:
        arrays = [self.engine.get(each) for each in values]
        if name == "tokens":
            return np.concatenate(arrays, axis=1).astype(np.int64)
        return np.stack(arrays, axis=1)


class Train(ArrayProgram):
    """Forward, loss and the gradient of every trained parameter."""

    def __init__(self, model: ArrayModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        self._loss: Array | None = None
        self._gradients: dict[str, Array] = {}
        self._differentiated = self.engine.with_gradient(self._loss_of)
        self._compile()

    def _compile(self) -> None:
        self._train = self.engine.compile(self._differentiated, self.model.trained, self.model.frozen, self.inputs)

    def _loss_of(self, trained: Any, frozen: Any, inputs: Any) -> Array:
        return self.network.loss(self.network.forward({**trained, **frozen}, inputs), inputs)

    def _release(self) -> None:
        super()._release()
        self._loss, self._gradients = None, {}

    def _compute(self) -> None:
        self._loss, self._gradients = self._train(self.model.trained, self.model.frozen, self.inputs)
        self.engine.wait(self._loss, self._gradients)

    def _results(self) -> dict[str, Any]:
        if self._loss is None:
            return {}
        return {"loss": self._loss, **{f"grad.{name}": values for name, values in self._gradients.items()}}


class Step(Train):
    """`train`, then the optimizer's update of the parameters."""

    def __init__(self, model: ArrayModel, inputs: Tensors, options: Optimizer) -> None:
        self._optimizer = optimizer(options)
        self._steps = 0
        super().__init__(model, "step", inputs)

    def _compile(self) -> None:
        self._slots = [
            {name: self.engine.ops.xp.zeros_like(values) for name, values in self.model.trained.items()}
            for _ in range(self._optimizer.slots)
        ]
        self._update = self.engine.compile(
            self._stepped,
            self.model.trained,
            self._slots,
            self.model.frozen,
            self.inputs,
            self._schedule(1),
            donated=(0, 1),
        )

    def _schedule(self, step: int) -> Array:
        return self.engine.put(self._optimizer.schedule(step))

    def _stepped(self, trained: Any, slots: Any, frozen: Any, inputs: Any, schedule: Array) -> tuple[Any, Any, Any]:
        loss, gradients = self._differentiated(trained, frozen, inputs)
        updated, slots = self._optimizer.update(self.engine.ops, schedule, trained, gradients, slots)
        return loss, updated, slots

    def _compute(self) -> None:
        schedule = self._schedule(self._steps + 1)
        loss, trained, slots = self._update(self.model.trained, self._slots, self.model.frozen, self.inputs, schedule)
        self.model.trained, self._slots = trained, slots
        self._steps += 1
        self._loss = loss
        self.engine.wait(loss, trained, slots)

    def _results(self) -> dict[str, Any]:
        if self._loss is None:
            return {}
        return {"loss": self._loss, **{f"param.{name}": values for name, values in self.model.trained.items()}}
