"""The tasks recorded as CUDA graphs: the kernels of the eager mode, launched all at once.

A graph reads and writes fixed memory, so inputs are copied into the tensors that it was recorded with. What a library
does only once (workspaces, the choice of an algorithm) must have happened before, so a task is first executed a few
times on a stream of its own; `step` then takes its updates back.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.torch_programs import Infer, Step, TorchProgram, Train

if TYPE_CHECKING:
    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import Optimizer, TaskName, TaskOptions
    from arena_py.frameworks.pytorch import TorchModel

WARM_UPS = 3
"""As torch's own documentation has it."""


def program(model: TorchModel, task: TaskName, options: TaskOptions, inputs: Tensors) -> TorchProgram:
    """The recorded program of a task.

    Raises:
        RunnerError: `unsupported` for `decode`; `invalid_inputs`.
    """
    match task:
        case "infer":
            return RecordedInfer(model, task, inputs)
        case "train":
            return RecordedTrain(model, task, inputs)
        case "step":
            assert options.optimizer is not None
            return RecordedStep(model, inputs, options.optimizer)
        case "decode":
            raise RunnerError(
                "unsupported",
                "task `decode`, recorded: the key/value cache of the canonical modules grows with every token, and a "
                "graph's memory is fixed",
            )


class _Recorded(TorchProgram):
    """Replays a graph."""

    _graph: torch.cuda.CUDAGraph | None = None

    def _upload(self) -> dict[str, torch.Tensor]:
        if self._graph is None:
            return super()._upload()
        for name, values in self._host.items():
            self.inputs[name].copy_(values, non_blocking=True)
        return self.inputs

    def _release(self) -> None:
        """Nothing of a graph is let go: its results are where they were recorded."""
        self._on_host = {}

    def _record(self) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._reset()
                self._launch()
        torch.cuda.current_stream().wait_stream(aside)
        self._restore()
        self._reset()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._launch()
        self._graph = graph

    def _compute(self) -> None:
        assert self._graph is not None
        self._graph.replay()

    def _launch(self) -> None:
        """The task, operation by operation."""
        raise AssertionError("every task has its own")

    def _reset(self) -> None:
        """Let go of what the execution before left."""

    def _restore(self) -> None:
        """Take back what warming up changed."""


class RecordedInfer(_Recorded, Infer):
    """One forward pass."""

    def __init__(self, model: TorchModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        self._record()

    def _launch(self) -> None:
        Infer._compute(self)


class RecordedTrain(_Recorded, Train):
    """Loss and gradients."""

    def __init__(self, model: TorchModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        self._record()

    def _launch(self) -> None:
        Train._compute(self)

    def _reset(self) -> None:
        self.module.zero_grad(set_to_none=True)


class RecordedStep(_Recorded, Step):
    """`train`, then the update, its optimizer's state on the device."""

    def __init__(self, model: TorchModel, inputs: Tensors, optimizer: Optimizer) -> None:
        super().__init__(model, inputs, optimizer)
        for group in self._optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True
        self._before = {name: value.detach().clone() for name, value in self._trained().items()}
        self._record()
        self._before = {}

    def _launch(self) -> None:
        Train._compute(self)
        self._optimizer.step()

    def _reset(self) -> None:
        self.module.zero_grad(set_to_none=True)

    def _restore(self) -> None:
        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(self._before[name])
            for state in self._optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()
