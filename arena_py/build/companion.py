"""The second environment of a framework whose runner executes what another one makes, such as exported graphs.

It is built with the framework's own and counts in nothing that is measured: what is deployed holds none of it.
"""

from __future__ import annotations

import dataclasses

from arena_py.build import environment
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.progress import Progress
from arena_py.manifest import Framework


def state(framework: Framework, torch: str) -> Built | NotBuilt | None:
    """The second environment as it is; none when the framework needs none."""
    return environment.state(framework.companion, torch=torch) if framework.companion else None


def build(framework: Framework, progress: Progress, torch: str) -> Built | NotBuilt | None:
    """Make it where it is not as its lock says; variants share it."""
    current = state(framework, torch)
    if framework.companion is None or isinstance(current, Built):
        return current
    return environment.build(framework.companion, progress, torch=torch)


def required(framework: Framework, own: Built | NotBuilt, second: Built | NotBuilt | None) -> Built | NotBuilt:
    """The framework's own environment, unless the second one is missing."""
    if isinstance(own, NotBuilt) or not isinstance(second, NotBuilt):
        return own
    reason = f"the environment of its exporter: {second.reason}"
    return dataclasses.replace(second, reason=reason, hint=f"python -m arena_py build {framework.name}")
