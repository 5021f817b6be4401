"""What the tests of real runners share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from arena_py.build import Built, locate, python_of
from arena_py.manifest import frameworks
from arena_py.manifest.framework import parse
from arena_py.verify.conformance import Target

THREADS = 2


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
