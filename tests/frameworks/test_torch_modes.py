"""PyTorch's other modes, and its eager one in the driver's own process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from arena_py import places
from arena_py.contract.messages import TaskOptions
from arena_py.contract.session import RunnerRefused, Session
from arena_py.verify.conformance import LIMITS
from arena_py.verify.gate import decide
from arena_py.verify.golden import cases, default_folder
from arena_py.verify.norms import compare

GOLDEN = {case.name: case for case in cases(default_folder())}
WORKER = str(places.PACKAGE / "worker.py")
GPU_BACKENDS = ("cuda", "cuda-compile", "cuda-graphs")
IN_PROCESS = """
import sys
from pathlib import Path
from arena_py.contract.in_process import InProcessSession
from arena_py.contract.messages import AdamW, TaskOptions
from arena_py.frameworks import framework
from arena_py.verify.golden import cases, default_folder

out = Path(sys.argv[1])
step = TaskOptions(optimizer=AdamW(lr=1e-2, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1))
for case in cases(default_folder()):
    with InProcessSession(lambda: framework("pytorch"), scratch=out, threads=2) as session:
        for task, options in (("infer", None), ("train", None), ("step", step)):
            session.load(case.model, case.weights, backend="cpu")
            session.prepare(task, case.inputs, options)
            session.run(1)
            session.outputs(out / f"{case.name}-{task}.safetensors")
"""


def spawn(python: Path, scratch: Path, **environment: str) -> Session:
    timeouts_s = {"ready": 300.0, "load": 600.0, "prepare": 1800.0}
    return Session(
        [str(python), WORKER, "pytorch"], scratch=scratch, environment=environment, threads=2, timeouts_s=timeouts_s
    )


def test_in_the_drivers_process_it_gives_the_bits_that_the_worker_gives(pytorch_python: Path, tmp_path: Path) -> None:
    from arena_py.contract.messages import AdamW

    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    visible = os.pathsep.join([str(places.PACKAGE.parent), sysconfig.get_path("purelib")])
    subprocess.run(
        [str(pytorch_python), "-c", IN_PROCESS, str(here)], check=True, env={**os.environ, "PYTHONPATH": visible}
    )
    step = TaskOptions(optimizer=AdamW(lr=1e-2, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1))
    with spawn(pytorch_python, there) as session:
        for case in GOLDEN.values():
            for task, options in (("infer", None), ("train", None), ("step", step)):
                session.load(case.model, case.weights, backend="cpu")
                session.prepare(task, case.inputs, options)  # type: ignore[arg-type]
                session.run(1)
                session.outputs(there / f"{case.name}-{task}.safetensors")
    files = sorted(path.name for path in there.iterdir() if path.suffix == ".safetensors")
    assert len(files) == 3 * len(GOLDEN)
    for name in files:
        mine, theirs = load_file(here / name), load_file(there / name)
        assert mine.keys() == theirs.keys()
        assert [key for key in mine if mine[key].tobytes() != theirs[key].tobytes()] == []


def test_compiled_llama_is_right_and_leaves_nothing_outside_its_folder(pytorch_python: Path, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    with spawn(pytorch_python, tmp_path) as session:
        session.load(case.model, case.weights, backend="cpu-compile")
        with pytest.raises(RunnerRefused, match="task `decode`, compiled: the key/value cache") as caught:
            session.prepare("decode", case.inputs, TaskOptions(new_tokens=2))
        assert caught.value.code == "unsupported"
        prepared = session.prepare("train", case.inputs)
        # What is compiled is compiled in `prepare`.
        assert prepared.first_ns < prepared.prepare_ns
        session.run(2)
        session.outputs(tmp_path / "out.safetensors")
        assert list(tmp_path.glob("inductor-*/**/*.so"))
    decision = decide(compare(tmp_path / "out.safetensors", case.expected, case.names("train")), case.noise(), LIMITS)
    assert decision.passed


def test_without_a_compiler_the_backend_is_not_there(pytorch_python: Path, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    with spawn(pytorch_python, tmp_path, CXX="no-such-compiler") as session:
        with pytest.raises(RunnerRefused, match="backend `cpu-compile` needs a C\\+\\+ compiler") as caught:
            session.load(case.model, case.weights, backend="cpu-compile")
        assert (caught.value.code, caught.value.status) == ("device_unavailable", "unavailable")
        session.load(case.model, case.weights, backend="cpu")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has the device")
def test_a_device_that_is_not_there_is_unavailable_and_never_replaced(pytorch_python: Path, tmp_path: Path) -> None:
    case = GOLDEN["llama-tiny"]
    with spawn(pytorch_python, tmp_path) as session:
        built = {backend.id for backend in session.description.backends}
        for backend in (*GPU_BACKENDS, "rocm", "xpu", "mps"):
            with pytest.raises(RunnerRefused) as caught:
                session.load(case.model, case.weights, backend=backend)
            assert caught.value.code == ("device_unavailable" if backend in built else "unsupported")
            assert f"`{backend}`" in caught.value.message


BREAKING = """
import sys
import torch
from arena_py.contract.adapter import RunnerError
from arena_py.frameworks import torch_compile

def broken():
    torch._dynamo.graph_break()
    return torch.zeros(1)

try:
    torch_compile._warm_up(torch_compile._compiled(broken))
except RunnerError as error:
    print(error.code, error.message)

class Growing(torch_compile._NeverAgain):
    def __init__(self):
        self._twice = torch_compile._compiled(lambda x: 2 * x)
        self._twice(torch.ones(3))

def execute(self, boundary):
    return self._twice(torch.ones(4 if boundary == "device" else 3)).sum()

torch_compile.TorchProgram.execute = execute
program = Growing()
print(float(program.execute("host")))
try:
    program.execute("device")
except RuntimeError as error:
    print("refused:", str(error).splitlines()[0])
"""


def test_a_graph_break_and_a_recompilation_do_not_go_unnoticed(pytorch_python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(pytorch_python), "-c", BREAKING],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(places.PACKAGE.parent), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    broken, right, refused = done.stdout.splitlines()
    assert broken.startswith("unsupported torch.compile, whole: ")
    assert right == "6.0"
    assert refused.startswith("refused: ")
    assert "recompile" in refused
