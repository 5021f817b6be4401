"""JAX and MLX on configurations that the golden cases do not have, against PyTorch in float64."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from configurations import CASES, Case
from safetensors.numpy import load_file, save_file

from arena_py.contract.messages import AdamW, Sgd, TaskName, TaskOptions
from arena_py.contract.session import RunnerRefused, Session
from arena_py.verify.canon import Canon
from arena_py.verify.conformance import LIMITS, Target
from arena_py.verify.exercise import Exercise
from arena_py.verify.gate import decide, reason
from arena_py.verify.golden import GoldenCase, cases, default_folder
from arena_py.verify.norms import Group, compare

GOLDEN = {case.name: case for case in cases(default_folder())}
TASKS = [(name, task) for name, case in CASES.items() for task in case.tasks]
NEW_TOKENS = 6
FRAMEWORKS = ("jax", "mlx")


class Expected:
    """Files of every case, made when they are first asked for: weights, inputs, reference and noise."""

    def __init__(self, folder: Path, canon: Canon) -> None:
        self._folder = folder
        self._canon = canon
        self._made: dict[object, tuple[Exercise, Path, dict[Group, float]]] = {}

    def of(self, name: str, task: TaskName, options: TaskOptions) -> tuple[Exercise, Path, dict[Group, float]]:
        """The exercise, the reference's outputs, and float32 PyTorch's error by group."""
        key = (name, task, options)
        if key not in self._made:
            self._made[key] = self._make(CASES[name], self._folder / name, task, options)
        return self._made[key]

    def _make(
        self, case: Case, folder: Path, task: TaskName, options: TaskOptions
    ) -> tuple[Exercise, Path, dict[Group, float]]:
        if not folder.exists():
            folder.mkdir()
            case.write(folder)
        exercise = Exercise(
            model=case.model,
            weights=folder / "weights.safetensors",
            task=task,
            options=options,
            inputs=folder / "inputs.safetensors",
            later_inputs=[folder / "bound.safetensors"],
        )
        stem = f"{task}{len(self._made)}"
        expected, rounded = folder / f"{stem}.safetensors", folder / f"{stem}-rounded.safetensors"
        self._canon.run("reference", exercise.on("cpu", "f64"), expected)
        self._canon.run("pytorch", exercise, rounded)
        return exercise, expected, compare(rounded, expected).worst()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Expected]:
    with Canon(threads=1) as canon:
        yield Expected(tmp_path_factory.mktemp("cases"), canon)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def target(request: pytest.FixtureRequest, runner: Callable[[str], Target]) -> Target:
    return runner(request.param)


@pytest.fixture(scope="module")
def session(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with target.session(tmp_path_factory.mktemp("session")) as session:
        yield session


def assert_right(session: Session, folder: Path, made: tuple[Exercise, Path, dict[Group, float]]) -> None:
    exercise, reference, noise = made
    exercise.whole(session, folder / "out")
    decision = decide(compare(folder / "out", reference), noise, LIMITS)
    assert decision.passed, reason(decision)


@pytest.mark.parametrize(("name", "task"), TASKS, ids=str)
def test_other_configurations_are_right_too(
    session: Session, expected: Expected, tmp_path: Path, name: str, task: TaskName
) -> None:
    options = TaskOptions(new_tokens=NEW_TOKENS if task == "decode" else None)
    assert_right(session, tmp_path, expected.of(name, task, options))


@pytest.mark.parametrize(
    "optimizer", [Sgd(lr=0.05), AdamW(lr=3e-3, betas=(0.8, 0.97), eps=1e-3, weight_decay=0.2)], ids=["sgd", "adamw"]
)
def test_two_steps_are_those_of_pytorch(
    session: Session, expected: Expected, tmp_path: Path, optimizer: Sgd | AdamW
) -> None:
    assert_right(session, tmp_path, expected.of("smolvla period of 3", "step", TaskOptions(optimizer=optimizer)))


def load(session: Session, case: GoldenCase) -> None:
    session.load(case.model, case.weights, backend="cpu", precision="f32")


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_training_twice_gives_the_same_bits(session: Session, tmp_path: Path, case: GoldenCase) -> None:
    load(session, case)
    session.prepare("train", case.inputs)
    session.outputs(tmp_path / "first")
    session.run(2)
    session.outputs(tmp_path / "second")
    first, second = load_file(tmp_path / "first"), load_file(tmp_path / "second")
    assert first.keys() == second.keys()
    assert all(np.array_equal(values, second[name]) for name, values in first.items())


def test_the_parameters_of_a_step_stay_for_other_tasks(session: Session, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    load(session, case)
    session.prepare("step", case.inputs, TaskOptions(optimizer=Sgd(lr=0.05)))
    session.outputs(tmp_path / "stepped")
    stepped = load_file(tmp_path / "stepped")
    session.prepare("train", case.inputs)
    session.outputs(tmp_path / "loss", ["loss"])
    assert load_file(tmp_path / "loss")["loss"] < stepped["loss"]
    weights = {name.removeprefix("param."): values for name, values in stepped.items() if name.startswith("param.")}
    save_file(weights, tmp_path / "weights")
    session.load(case.model, tmp_path / "weights", backend="cpu", precision="f32")
    session.prepare("train", case.inputs)
    session.outputs(tmp_path / "again", ["loss"])
    assert load_file(tmp_path / "again")["loss"] == load_file(tmp_path / "loss")["loss"]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("llama-tiny", {"hidden_act": "prelu"}, "prelu"),
        ("resnet-tiny", {"hidden_act": "xielu"}, "xielu"),
        ("whisper-tiny-dims", {"activation_function": "square"}, "square"),
        ("unet-tiny", {"act_fn": "tanh"}, "tanh"),
    ],
)
def test_an_activation_that_is_not_there_is_unsupported(
    session: Session, name: str, change: dict[str, str], words: str
) -> None:
    case = GOLDEN[name]
    model = type(case.model)(case.model.architecture, case.model.config | change)
    with pytest.raises(RunnerRefused, match=words) as caught:
        session.load(model, case.weights, backend="cpu", precision="f32")
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize(("lr", "words"), [(-1.0, "lr"), (float("nan"), "lr")])
def test_an_optimizer_that_torch_refuses_is_an_invalid_request(session: Session, lr: float, words: str) -> None:
    case = GOLDEN["llama-tiny"]
    load(session, case)
    optimizer = AdamW(lr=lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    with pytest.raises(RunnerRefused, match=words) as caught:
        session.prepare("step", case.inputs, TaskOptions(optimizer=optimizer))
    assert caught.value.code == "invalid_request"


def test_a_backend_without_its_package_is_unsupported(session: Session) -> None:
    case = GOLDEN["llama-tiny"]
    assert {backend.id for backend in session.description.backends} == {"cpu"}
    with pytest.raises(RunnerRefused, match="cuda") as caught:
        session.load(case.model, case.weights, backend="cuda", precision="f32")
    assert caught.value.code == "unsupported"


def test_mlx_says_when_it_cannot_fuse(runner: Callable[[str], Target], tmp_path: Path) -> None:
    python, *rest = runner("mlx").command
    for path, said in (("/usr/bin:/bin", False), (str(tmp_path), True)):
        done = subprocess.run(
            [python, *rest, "describe"], capture_output=True, text=True, check=True, env={"PATH": path}
        )
        features = json.loads(done.stdout)["build"]["features"]
        assert any("not fused" in feature for feature in features) == said


def compute_threads(session: Session) -> int:
    """Threads of XLA's pool for one operation."""
    process = psutil.Process(session.pid)
    names = [Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text() for thread in process.threads()]
    return names.count("tf_XLAEigen\n")


@pytest.mark.parametrize("threads", [1, 3])
def test_jax_computes_on_as_many_threads_as_it_is_told(
    runner: Callable[[str], Target], tmp_path: Path, threads: int
) -> None:
    command = runner("jax").command
    case = GOLDEN["llama-tiny"]
    with Session(command, scratch=tmp_path, threads=threads) as session:
        load(session, case)
        session.prepare("infer", case.inputs)
        assert compute_threads(session) == threads
        request = {"id": 9, "op": "load", "model": msgspec.to_builtins(case.model), "weights": str(case.weights)}
        request |= {"backend": "cpu", "precision": "f32", "threads": threads + 1}
        answer = session.exchange(json.dumps(request).encode() + b"\n")
        assert answer.error is not None
        assert answer.error.code == "unsupported"
        assert f"already runs {threads} on `cpu`" in answer.error.message


SENT_HOME = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from arena_py.frameworks.arrays.jax_engine import JaxEngine

engine = JaxEngine("cpu")
values = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([[7]])]
landed = engine.send_home([engine.put(each) * 2 for each in values])
print(*{each.sharding.memory_kind for each in landed})
print(all(np.array_equal(engine.get(each), 2 * was) for each, was in zip(landed, values, strict=True)))
"""


def test_what_jax_sends_home_lands_in_page_locked_memory(runner: Callable[[str], Target]) -> None:
    command = [runner("jax").command[0], "-c", SENT_HOME, str(Path(__file__).parents[2])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pinned_host", "True"]
