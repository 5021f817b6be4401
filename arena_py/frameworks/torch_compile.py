"""The tasks compiled by inductor: the forward graph, or the joint graph of the loss and its gradients.

Compiled whole (`fullgraph`: a break in the graph is an error), for the shapes at hand (`dynamic=False`), while a task
is prepared; what would be compiled again afterwards is an error, too, and never a slow sample. The optimizer of `step`
is torch's own, eager. Inductor's float32 is strict: it has no lower precision of its own, and for matrix products it
obeys the settings that the eager mode obeys.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from arena_py.contract.adapter import RunnerError
from arena_py.frameworks.torch_backends import cxx
from arena_py.frameworks.torch_programs import Infer, Step, TorchProgram, Train

if TYPE_CHECKING:
    from collections.abc import Callable

    from arena_py.contract.adapter import Tensors
    from arena_py.contract.messages import BoundaryName, Optimizer, TaskName, TaskOptions
    from arena_py.frameworks.pytorch import TorchModel

SCRATCH = "ARENA_SCRATCH"
"""Where a framework in the driver's process may write; a runner's own working directory is for that."""
CACHE = "TORCHINDUCTOR_CACHE_DIR"


def configure(threads: int) -> None:
    """Let inductor use so many threads, in its kernels and while it compiles, and keep its files in the scratch folder.

    The cache lives as long as the process's folder, so that `prepare` is always the time of a whole compilation.
    """
    from torch._inductor import config  # noqa: PLC0415 (a second: only where something is compiled)

    config.cpp.threads = threads
    config.compile_threads = threads
    os.environ.setdefault("CXX", cxx() or "")
    scratch = Path(os.environ.get(SCRATCH) or Path.cwd())
    if not Path(os.environ.get(CACHE, "")).is_relative_to(scratch) or CACHE not in os.environ:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="inductor-", dir=scratch)


def program(model: TorchModel, task: TaskName, options: TaskOptions, inputs: Tensors) -> TorchProgram:
    """The compiled program of a task.

    Raises:
        RunnerError: `unsupported` for `decode`, or what cannot be compiled whole; `invalid_inputs`.
    """
    match task:
        case "infer":
            compiled: CompiledInfer | CompiledTrain | CompiledStep = CompiledInfer(model, task, inputs)
        case "train":
            compiled = CompiledTrain(model, task, inputs)
        case "step":
            assert options.optimizer is not None
            compiled = CompiledStep(model, inputs, options.optimizer)
        case "decode":
            raise RunnerError(
                "unsupported",
                "task `decode`, compiled: the key/value cache of the canonical modules grows with every token, which "
                "inductor would compile anew each time",
            )
    _warm_up(compiled.warm_up)
    return compiled


def _warm_up(run: Callable[[], None]) -> None:
    """Compile, which happens with the first call.

    Raises:
        RunnerError: `unsupported` when the graph breaks.
    """
    from torch._dynamo.exc import Unsupported, UserError  # noqa: PLC0415 (as above)
    from torch._inductor.async_compile import shutdown_compile_workers  # noqa: PLC0415 (as above)

    try:
        run()
    except (Unsupported, UserError) as error:
        raise RunnerError("unsupported", f"torch.compile, whole: {str(error).strip().splitlines()[0]}") from error
    finally:
        shutdown_compile_workers()  # processes that wait for more to compile


def _compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    made: Callable[..., torch.Tensor] = torch.compile(function, fullgraph=True, dynamic=False)
    return made


class _NeverAgain(TorchProgram):
    """Executes what was compiled, and nothing else."""

    def execute(self, boundary: BoundaryName) -> int | None:
        """Execute once.

        Raises:
            RuntimeError: it would have been compiled again.
        """
        with torch.compiler.set_stance("fail_on_recompile"):
            return super().execute(boundary)


class CompiledInfer(_NeverAgain, Infer):
    """One forward pass."""

    def __init__(self, model: TorchModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        architecture, module = self.architecture, self.module
        self._forward = _compiled(lambda batch: architecture.forward(module, batch))

    def _compute(self) -> None:
        with torch.inference_mode():
            self._output = self._forward(self.inputs)

    def warm_up(self) -> None:
        """Compile."""
        self._compute()
        self._release()


class CompiledTrain(_NeverAgain, Train):
    """Loss and gradients: inductor compiles the forward and the backward part of one joint graph."""

    def __init__(self, model: TorchModel, task: TaskName, inputs: Tensors) -> None:
        super().__init__(model, task, inputs)
        architecture, module = self.architecture, self.module
        self._loss_of = _compiled(lambda batch: architecture.loss(architecture.forward(module, batch), batch))

    def _compute_loss(self) -> torch.Tensor:
        return self._loss_of(self.inputs)

    def warm_up(self) -> None:
        """Compile both parts; no update is made."""
        Train._compute(self)
        self._release()


class CompiledStep(CompiledTrain, Step):
    """`train`, compiled, then torch's optimizer."""

    def __init__(self, model: TorchModel, inputs: Tensors, optimizer: Optimizer) -> None:
        Step.__init__(self, model, inputs, optimizer)
        architecture, module = self.architecture, self.module
        self._loss_of = _compiled(lambda batch: architecture.loss(architecture.forward(module, batch), batch))
