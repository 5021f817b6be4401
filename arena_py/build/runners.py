"""The runners of all frameworks: which executable or environment each variant needs, and making it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from arena_py import locking, places
from arena_py.build import companion, crate, current, environment, libraries, tools, torch_wheels
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.progress import Progress, Silent
from arena_py.errors import ArenaError
from arena_py.manifest import Framework, Variant, framework, frameworks
from arena_py.manifest.framework import parse


@dataclass(frozen=True)
class Target:
    """One thing to build: a framework's environment, or its executable with some features."""

    framework: Framework
    variant: Variant | None
    """The variant that has a build of its own; none for what the others share."""

    @property
    def name(self) -> str:
        """`burn`, or `burn-vulkan` for a variant with a build of its own."""
        return f"{self.framework.name}-{self.variant.name}" if self.variant else self.framework.name

    def state(self, torch: str = torch_wheels.AUTO) -> Built | NotBuilt:
        """What is there now; `torch` says which wheels of torch an environment must have."""
        if self.framework.language == "python":
            own = environment.state(self.framework, self.variant, torch=torch)
            return companion.required(self.framework, own, companion.state(self.framework, torch))
        return crate.state(self.framework, self.variant)

    def build(self, progress: Progress, torch: str = torch_wheels.AUTO) -> Built | NotBuilt:
        """Make it, whatever is there."""
        if self.framework.language == "python":
            own = environment.build(self.framework, progress, self.variant, torch=torch)
            if isinstance(own, NotBuilt):
                return own
            return companion.required(self.framework, own, companion.build(self.framework, progress, torch))
        return crate.build(self.framework, self.variant, progress)


def target_of(framework: Framework, variant: Variant) -> Target:
    """What the variant is started from."""
    return Target(framework, framework.builder(variant))


def locate(framework: Framework, variant: Variant) -> Built | NotBuilt:
    """How to start a variant, if it is built and nothing changed since; builds nothing."""
    return _without_a_build(framework, variant) or _linked(framework, variant, target_of(framework, variant).state())


def ensure(
    selectors: Iterable[str] = (),
    progress: Progress | None = None,
    *,
    again: bool = False,
    torch_backend: str | None = None,
) -> dict[str, Built | NotBuilt]:
    """Build what is missing or changed; a failing build leaves the others alone.

    Args:
        selectors: `FRAMEWORK` (its default variants) or `FRAMEWORK:VARIANT`; all frameworks when there are none.
        progress: told how it goes.
        again: build even what is up to date.
        torch_backend: which wheels of torch environments get: `auto`, `registry`, or an index of PyTorch (`cpu`);
            what uv's own variable says, else `auto`, when absent.

    Returns:
        For each variant, by its label `FRAMEWORK:VARIANT`, how to start it or why it cannot be.

    Raises:
        ArenaError: an unknown framework or variant, a broken manifest, or a folder that cannot be written.
    """
    torch = torch_wheels.wanted(torch_backend)
    progress = progress or Silent()
    chosen = [parse(selector) for selector in (list(selectors) or frameworks())]
    wanted = {f"{found.name}:{variant.name}": (found, variant) for found, variants in chosen for variant in variants}
    ready = {label: found for label, pair in wanted.items() if (found := _without_a_build(*pair))}
    targets = {target_of(*pair).name: target_of(*pair) for label, pair in wanted.items() if label not in ready}
    outcomes = {name: target.state(torch) for name, target in targets.items()}
    stale = [name for name, outcome in outcomes.items() if again or isinstance(outcome, NotBuilt)]
    if stale:
        with locking.held(places.artifacts(), note=progress.note):
            for position, name in enumerate(stale, start=1):
                outcomes[name] = _build(targets[name], progress, (position, len(stale)), torch, again=again)
    return {
        label: ready.get(label) or _linked(*pair, outcomes[target_of(*pair).name]) for label, pair in wanted.items()
    }


def python_of(name: str) -> Path:
    """The interpreter of a Python framework's environment.

    Raises:
        ArenaError: it is not built, or changed since.
    """
    found = framework(name)
    if found.language != "python":
        raise ArenaError(f"{name} is not a python framework")
    outcome = current.state(found) if current.chosen() else environment.state(found)
    if isinstance(outcome, NotBuilt):
        raise ArenaError(f"the environment of {name} is not usable: {outcome.reason}", hint=outcome.hint, exit_code=1)
    return Path(outcome.command[0])


def identity_of(name: str) -> str:
    """What decides the numbers of a Python framework as `python_of` has it, beside Arena's own sources.

    Raises:
        ArenaError: it has no lock, or the current interpreter lacks a package.
    """
    return current.identity(framework(name))


def _build(target: Target, progress: Progress, place: tuple[int, int], torch: str, *, again: bool) -> Built | NotBuilt:
    # Another process may have built it while this one waited for the lock.
    if not again and isinstance(current := target.state(torch), Built):
        return current
    progress.begin(target.name, *place)
    outcome = target.build(progress, torch)
    progress.end(target.name, outcome)
    return outcome


def _linked(framework: Framework, variant: Variant, outcome: Built | NotBuilt) -> Built | NotBuilt:
    """With what its dynamic linker has to be told, or lacks, on this machine."""
    needed = (framework.builder(variant) or variant).libraries
    if isinstance(outcome, NotBuilt) or not needed:
        return outcome
    found = libraries.find(needed)
    return replace(outcome, variables=found.variables(), missing=found.missing)


def _without_a_build(framework: Framework, variant: Variant) -> Built | NotBuilt | None:
    """What is settled without looking at a build: it cannot exist here, or the current interpreter is to have it."""
    if absent := _elsewhere(variant):
        return absent
    return current.state(framework, variant) if framework.language == "python" and current.chosen() else None


def _elsewhere(variant: Variant) -> NotBuilt | None:
    """Why a variant cannot exist on this machine, by its manifest; none when nothing says so."""
    if variant.platforms and sys.platform not in variant.platforms:
        return NotBuilt(f"exists on {', '.join(variant.platforms)} only, this is {sys.platform}", declared=True)
    if missing := next((tool for tool in variant.tools if tools.needed(tool) is None), None):
        what = "a C++ compiler" if missing == "c++" else missing
        return NotBuilt(f"needs {what}, and there is none", hint=tools.get(missing), declared=True)
    return None
