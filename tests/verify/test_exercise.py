"""What an exercise asks of a runner, and the losses that it brings back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from arena_py.contract.messages import ModelSpec, Sgd, TaskOptions
from arena_py.contract.tensors import write_tensors
from arena_py.verify.exercise import Exercise


class Steps:
    """A session whose loss is 10 less the steps taken; what it is asked is kept."""

    def __init__(self, losses: bool = True) -> None:
        self.asked: list[str] = []
        self.taken = 0
        self.losses = losses

    def load(self, _model, _weights, **_how) -> None:
        self.asked.append("load")

    def prepare(self, _task, inputs: Path, _options) -> None:
        self.asked.append(f"prepare {inputs.name}")
        self.taken += 1

    def bind(self, inputs: Path) -> None:
        self.asked.append(f"bind {inputs.name}")

    def run(self, iterations: int, _boundary) -> None:
        self.taken += iterations

    def outputs(self, path: Path, names=None) -> None:
        loss = {"loss": np.array(10.0 - self.taken)} if self.losses else {}
        write_tensors(path, loss if names else loss | {"param.a": np.array([float(self.taken)])})


def exercise(task: str, later: int) -> Exercise:
    return Exercise(
        model=ModelSpec("llama", {}),
        weights=Path("w"),
        task=task,
        options=TaskOptions(optimizer=Sgd(lr=0.1)),
        inputs=Path("batch-0"),
        later_inputs=[Path(f"batch-{index}") for index in range(1, later + 1)],
    )


def test_a_step_has_a_loss_for_every_batch(tmp_path: Path) -> None:
    session = Steps()
    assert exercise("step", 3).whole(session, tmp_path / "out.safetensors") == [9.0, 8.0, 7.0, 6.0]
    assert session.asked == ["load", "prepare batch-0", "bind batch-1", "bind batch-2", "bind batch-3"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


def test_other_tasks_have_none_and_are_executed_once_on_each_input(tmp_path: Path) -> None:
    session = Steps()
    assert exercise("train", 1).whole(session, tmp_path / "out.safetensors") == []
    assert session.taken == 2


def test_a_runner_without_a_loss_is_told_by_the_curve(tmp_path: Path) -> None:
    curve = exercise("step", 1).whole(Steps(losses=False), tmp_path / "out.safetensors")
    assert len(curve) == 2
    assert all(map(math.isnan, curve))
