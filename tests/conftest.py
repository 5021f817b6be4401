"""What the tests of real runners share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arena_py.build import Built, locate, python_of
from arena_py.contract import conditions
from arena_py.manifest import frameworks
from arena_py.manifest.framework import parse
from arena_py.verify.conformance import Target

THREADS = 2
REAL_POOLS = dict(conditions.POOLS)
SPREAD = frozenset(
    {
        "tests/frameworks/test_torch_modes.py",
        "tests/measure/test_known_distributions.py",
        "tests/models/test_generate.py",
        "tests/test_benchmarks.py",
        "tests/verify/test_conform.py",
        "tests/verify/test_threads.py",
    }
)
"""Files of long tests that share nothing which is dear to make."""
SHARED = "PYTEST_XDIST_WORKER" in os.environ
"""Whether other tests compute on the same processors meanwhile."""


def pytest_configure() -> None:
    """Let interrupts reach what tests start: a shell's background jobs, and all below them, inherit to ignore them.

    And let the threads of OpenMP sleep while they wait where tests share processors: spinning, a thread whose partner
    is not scheduled takes what the partner would need, and PyTorch's small operators take five times as long. What is
    computed is the same; tests of how runners wait take the real conditions.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if SHARED:
        conditions.POOLS = REAL_POOLS | {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture
def real_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners that wait as they do while they are measured."""
    monkeypatch.setattr(conditions, "POOLS", REAL_POOLS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole files to the processes of `pytest -n`: their tests share sessions, references, what was compiled.

    Tests of the files in `SPREAD` go one by one to whoever is idle, last, so that all processes end together. The marks
    of `--dist loadgroup` cannot say this: pytest-xdist 3.8 does not see them under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file in SPREAD else file

    return Files(config, log) if config.getoption("dist") == "load" else None


def runner_target(name: str) -> Target:
    """The first default variant of a framework; a runner that is not built fails the test, it does not skip it."""
    framework, (variant, *_) = parse(name)
    built = locate(framework, variant)
    if not isinstance(built, Built):
        pytest.fail(f"{name} is not built ({built.reason}): python -m arena_py build {name}")
    return Target(
        label=name,
        command=built.command,
        backend=variant.backend,
        environment=variant.environment,
        threads=THREADS,
        boundary=variant.boundary,
    )


@pytest.fixture(params=frameworks())
def target(request: pytest.FixtureRequest) -> Target:
    """Every framework's runner in turn."""
    return runner_target(request.param)


@pytest.fixture(scope="session")
def runner() -> Callable[[str], Target]:
    """The runner of a framework by its name."""
    return runner_target


@pytest.fixture(scope="session")
def pytorch_python() -> Path:
    """The interpreter of PyTorch's environment."""
    return python_of("pytorch")
