"""The worker's command line, and how it finds Arena in an environment that does not have it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from arena_py import places
from arena_py.contract.messages import Description
from arena_py.verify.conformance import Target

WORKER = places.PACKAGE / "worker.py"


def worker(python: Path, *arguments: str, script: Path = WORKER) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), str(script), *arguments], capture_output=True, text=True, check=False, input="")


@pytest.mark.parametrize("name", ["pytorch", "reference"])
def test_describe_is_one_line_of_the_contract(pytorch_python: Path, name: str) -> None:
    done = worker(pytorch_python, name, "describe")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    description = msgspec.json.decode(line, type=Description)
    assert description.runner == name
    assert description.framework.name == "torch"
    assert [backend.precisions for backend in description.backends if backend.id == "cpu"] == [
        ["f64"] if name == "reference" else ["f32", "bf16"]
    ]


def test_the_end_of_input_ends_it_after_the_ready_line(pytorch_python: Path) -> None:
    done = worker(pytorch_python, "pytorch")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["event"] == "ready"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["pytorch", "jax", "mlx"])
def test_it_says_that_it_is_ready_before_anything_heavy_is_imported(runner: Callable[[str], Target], name: str) -> None:
    python = runner(name).command[0]
    script = (
        f"import runpy, sys; worker = runpy.run_path({str(WORKER)!r}); worker['bootstrap']();"
        f"code = worker['main']([{name!r}]);"
        "heavy = {'torch', 'transformers', 'diffusers', 'numpy', 'jax', 'mlx.core'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False, input="")
    assert done.stderr == "[]\n"


def test_ctrl_c_is_quiet(pytorch_python: Path) -> None:
    with subprocess.Popen(
        [str(pytorch_python), str(WORKER), "pytorch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert words == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "wrong arguments"),
        (["perceptron"], "unknown framework `perceptron`"),
        (["pytorch", "dance"], "wrong arguments"),
        (["pytorch", "serve", "now"], "wrong arguments"),
    ],
)
def test_wrong_arguments_say_what_is_right(arguments: list[str], words: str) -> None:
    done = worker(Path(sys.executable), *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert "pytorch" in done.stderr


def test_nothing_beside_the_package_is_importable(tmp_path: Path) -> None:
    """The package may lie in a `site-packages` whose other modules are of another environment."""
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "arena_py").symlink_to(places.PACKAGE, target_is_directory=True)
    (site / "neighbour.py").write_text("raise SystemExit('imported a neighbour')")
    script = (
        "import importlib.util, runpy, sys;"
        "sys.argv = ['worker.py']; sys.path[0] = {folder!r};"
        "runpy.run_path({path!r})['bootstrap']();"
        "import arena_py.contract.messages;"
        "found = [name for name in ('neighbour', 'build', 'errors', 'report') if importlib.util.find_spec(name)];"
        "sys.exit(f'found {{found}}' if found else 0)"
    ).format(folder=str(site / "arena_py"), path=str(site / "arena_py" / "worker.py"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
