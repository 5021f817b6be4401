"""The tasks of the contract on sessions of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_py.contract.adapter import Output
from arena_py.contract.messages import AdamW, Sgd
from arena_py.frameworks.arrays.optimizer import optimizer as checked
from arena_py.frameworks.onnx import graphs, sessions
from arena_py.frameworks.onnx.landing import Landing
from arena_py.frameworks.onnx.spec import AFTER, MOMENTS, SCALARS, GraphSpec
from arena_py.models.inputs import take

if TYPE_CHECKING:
    import onnxruntime

    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import BoundaryName, Optimizer, TaskName
    from arena_py.frameworks.onnxruntime import OnnxModel

    Values = dict[str, onnxruntime.OrtValue]

TIME = "time"


class OnnxProgram:
    """What the tasks share: a session, and its inputs and outputs bound to memory that stays."""

    def __init__(self, model: OnnxModel, task: TaskName, inputs: Tensors, optimizer: Optimizer | None = None) -> None:
        self.model = model
        self._target = model.target
        self._task: TaskName = task
        arrays, sizes = take(model.config.inputs, inputs, task)
        model.config.check(sizes, task, 0)
        name = None if optimizer is None else "sgd" if isinstance(optimizer, Sgd) else "adamw"
        shapes = {each: list(array.shape) for each, array in arrays.items()}
        spec = GraphSpec(model.architecture, model.public, task, shapes, name)
        self._kept = graphs.graph(spec)
        self._session = sessions.create(self._target, self._kept, self._initializers())
        self._state: Values = {}
        self._outputs: Values = {}
        self._landing = Landing(self._target)
        self._fetched: Values = {}
        self.bind(inputs)

    def _initializers(self) -> Values:
        return {}

    def bind(self, inputs: Tensors) -> None:
        """Take other input values.

        Raises:
            RunnerError: `invalid_inputs`.
        """
        arrays, sizes = take(self.model.config.inputs, inputs, self._task)
        self.model.config.check(sizes, self._task, 0)
        self._arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self._given = self._uploaded()

    def _uploaded(self) -> Values:
        return {name: sessions.value(self._target, array) for name, array in self._arrays.items()}

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once."""
        with sessions.memory_errors():
            across = boundary == "host" and self._target.device != "cpu"
            self._fetched = {}
            if across:
                self._given = self._uploaded()
            self._compute()
            if across:
                self._fetched = self._landing.fetch(self._results())
        return None

    def _compute(self) -> None:
        binding = self._session.io_binding()
        for name, values in self._bound().items():
            binding.bind_ortvalue_input(name, values)
        for name in self._kept.table.outputs:
            if name in self._outputs:
                binding.bind_ortvalue_output(name, self._outputs[name])
            else:
                binding.bind_output(name, self._target.device, 0)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        # What was bound stays as it is: the binding's own view of an array's memory does not keep the array alive.
        self._outputs = dict(zip(self._kept.table.outputs, binding.get_outputs(), strict=True)) | self._outputs

    def _bound(self) -> Values:
        """Every input of the session."""
        return self._given

    def _results(self) -> Values:
        return self._outputs

    def outputs(self) -> Iterator[Output]:
        """The results of the latest execution, each fetched when it is written."""
        for name, values in self._results().items():
            yield Output(name, partial(_array, self._fetched.get(name, values)))


def _array(values: onnxruntime.OrtValue) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = values.numpy()
    return array


class Infer(OnnxProgram):
    """One forward pass, the weights known to the optimiser."""

    def _initializers(self) -> Values:
        values = {name: self.model.values[name] for name in self._kept.table.stored}
        if self._target.device == "cpu":
            return values
        # Initializers are given in host memory; the session takes them to its device.
        return {name: sessions.on_host(each.numpy()) for name, each in values.items()}


class Train(OnnxProgram):
    """Loss and gradients; the weights are inputs, as they change from one step of a training to the next."""

    def _bound(self) -> Values:
        return self._given | {name: self.model.values[name] for name in self._kept.table.stored}


class Step(Train):
    """`train`, then the optimizer's update; parameters and moments change places with their successors."""

    def __init__(self, model: OnnxModel, inputs: Tensors, optimizer: Optimizer) -> None:
        checked(optimizer)
        super().__init__(model, "step", inputs, optimizer)
        kind = "sgd" if isinstance(optimizer, Sgd) else "adamw"
        self._names = [each.name for each in model.stored if each.trained]
        self._moments = [f"{moment}.{each}" for moment in MOMENTS[kind] for each in self._names]
        shapes = {each.name: each.shape for each in model.stored}
        for moment in self._moments:
            shape = shapes[moment.partition(".")[2]]
            self._state[moment] = sessions.value(self._target, np.zeros(shape, np.float32))
            self._outputs[AFTER + moment] = sessions.value(self._target, np.empty(shape, np.float32))
        # Memory of our own: ONNX Runtime takes no initializer from memory that it allocated.
        for name in self._names:
            self._outputs[f"param.{name}"] = sessions.value(self._target, np.empty(shapes[name], np.float32))
        self._scalars = {key: np.array(number, np.float64) for key, number in _numbers(optimizer).items()}
        if TIME in SCALARS[kind]:
            self._scalars[TIME] = np.array(0.0)

    def _bound(self) -> Values:
        scalars = {name: sessions.value(self._target, number) for name, number in self._scalars.items()}
        read = set(self._kept.table.inputs)
        return super()._bound() | {name: each for name, each in (self._state | scalars).items() if name in read}

    def _compute(self) -> None:
        super()._compute()
        # What held the values before is where the next execution writes.
        for name in self._names:
            self.model.values[name], self._outputs[f"param.{name}"] = (
                self._outputs[f"param.{name}"],
                self.model.values[name],
            )
        for name in self._moments:
            self._state[name], self._outputs[AFTER + name] = self._outputs[AFTER + name], self._state[name]
        if TIME in self._scalars:
            self._scalars[TIME] = np.array(self._scalars[TIME] + 1.0)

    def _results(self) -> Values:
        if "loss" not in self._outputs:
            return {}
        return {"loss": self._outputs["loss"], **{f"param.{name}": self.model.values[name] for name in self._names}}


def _numbers(optimizer: Optimizer) -> dict[str, float]:
    if isinstance(optimizer, AdamW):
        return {
            "lr": optimizer.lr,
            "beta1": optimizer.betas[0],
            "beta2": optimizer.betas[1],
            "eps": optimizer.eps,
            "weight_decay": optimizer.weight_decay,
        }
    return {"lr": optimizer.lr}
