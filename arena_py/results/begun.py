"""What a run began with, and whether all of that is still the same: only then can it be taken up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from arena_py import __version__, places
from arena_py.build import Built, PythonEnv
from arena_py.build.record import BuildRecord
from arena_py.manifest import Model
from arena_py.measure.plan import Candidate, Plan, Selection
from arena_py.results.document import Machine, Prepared
from arena_py.results.observed import Roofline

SCHEMA = 1
MACHINE = ("system", "kernel", "architecture", "cpu", "cores", "threads", "usable_threads", "memory_bytes", "governor")
"""What must be equal on the machine; its load and its clock may differ."""
OF_THE_BUILDING = ("seconds", "started", "bytes")
"""Of a record of a build, what says nothing about what was built."""
LONGEST = 40
"""A value that is shown as it is."""
SHOWN = 4
"""Differences that are told."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the command line that decide what is measured."""

    selection: Selection
    python_env: PythonEnv
    in_process: bool
    folder: str
    """The working folder, which relative paths start from."""

    @property
    def relative(self) -> list[str]:
        """The paths that mean something else in another working folder."""
        words = [self.selection.suite, *self.selection.models, *self.selection.frameworks]
        paths = [word for word in words if word.endswith(".toml")]
        weights = self.selection.weights
        if weights and weights != "seeded" and not weights.startswith("hub:"):
            paths.append(weights)
        return [path for path in paths if not Path(path).expanduser().is_absolute()]


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """Why a variant has no runner."""

    reason: str
    hint: str | None
    declared: bool
    log_tail: list[str]


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """The first line of a journal."""

    schema: int
    started: str
    """ISO 8601, UTC."""
    command: list[str]
    request: Request | None
    """None of a run that cannot be taken up (`aa`)."""
    facts: dict[str, Any]
    """By name, everything that must still be so when the run is taken up."""
    machine: Machine
    noise_floor: dict[str, float]
    absent: dict[str, Absent]
    """By label, what was not built."""
    roofline: Roofline | None
    flops: dict[str, int]
    """Of one execution, by case."""
    problems: list[str]
    """Of the roofline."""
    preparation_ns: int
    device_rooflines: list[Roofline] = []


def facts(plan: Plan, runners: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """What a run depends on besides the files of its cases, by names that a user understands.

    Args:
        plan: what is measured.
        runners: by label, what was built or not.
        machine: that it is measured on.
    """
    models = {case.model.name: case.model for case in plan.cases}
    found: dict[str, Any] = {
        "arena": __version__,
        "arena's own sources": _sources_sha256(),
        "the machine": {name: getattr(machine, name) for name in MACHINE},
        "the cases": ", ".join(case.name for case in plan.cases),
        "the variants": ", ".join(candidate.label for candidate in plan.candidates),
        "threads": plan.threads,
        "rounds": plan.rounds,
        "the source of weights": plan.weights,
        "sampling": plan.sampling,
        f"suite {plan.suite_name}": plan.suite,
    }
    found |= {f"the manifest of {name}": _digest(model) for name, model in models.items()}
    for candidate in plan.candidates:
        found[f"the manifest of {candidate.label}"] = _digest(candidate)
        runner = runners[candidate.label]
        found[f"whether {candidate.label} is built"] = isinstance(runner, Built)
        if isinstance(runner, Built):
            found[f"the build of {candidate.label}"] = _build(runner.record)
    return dict(_flat(msgspec.to_builtins(found)))


def facts_of_files(prepared: Iterable[Prepared]) -> dict[str, Any]:
    """The same of the files of cases, as far as they could be made."""
    found: dict[str, Any] = {}
    for each in prepared:
        found[f"the weights of {each.case}"] = each.weights_sha256
        found[f"the inputs of {each.case}"] = [each.inputs_sha256, *each.bound_inputs_sha256]
        found[f"the reference of {each.case}"] = each.reference_sha256
    return dict(_flat(found))


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of these facts is not as it was, in words; what was not known then, or is not looked at now, does not count.

    Args:
        then: all that a run began with.
        now: some of it as it is.
    """
    return [
        f"{name} was {_shown(then[name])}, is {_shown(value)}"
        for name, value in now.items()
        if name in then and then[name] != value
    ]


def told(found: list[str]) -> str:
    """The first differences in one line."""
    more = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}: {name}" if above else name
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield path, value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:12]}…"


def _build(record: BuildRecord) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(record)
    return {name: value for name, value in found.items() if name not in OF_THE_BUILDING}


def _digest(thing: Model | Candidate) -> str:
    content = thing.file if isinstance(thing, Model) else [thing.framework.version, thing.variant]
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _sources_sha256() -> str:
    """Over Arena itself: it asks, times and judges, and its Python runners are part of it."""
    digest = hashlib.sha256()
    for path in sorted(places.PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(places.PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
