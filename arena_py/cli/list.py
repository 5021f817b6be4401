"""`list`: what Arena knows of, and what of it is built."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from arena_py.build import Built, NotBuilt, locate, using
from arena_py.manifest import Framework, Variant, framework, frameworks, model, models, suite, suites

if TYPE_CHECKING:
    from rich.console import Console


class ListedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant and whether it can be started."""

    name: str
    backend: str
    precision: str
    default: bool
    built: bool
    reason: str | None
    """Why it is not built."""
    shipped_bytes: int | None


class ListedFramework(msgspec.Struct, frozen=True, kw_only=True):
    """A framework and its variants."""

    name: str
    title: str
    language: str
    version: str
    variants: list[ListedVariant]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model and its cases."""

    name: str
    title: str
    architecture: str
    parameters: int
    cases: list[str]


class ListedSuite(msgspec.Struct, frozen=True, kw_only=True):
    """A suite."""

    name: str
    title: str
    models: list[str]
    tasks: list[str]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What `list --format json` prints."""

    frameworks: list[ListedFramework]
    models: list[ListedModel]
    suites: list[ListedSuite]


def list_(
    *,
    format_: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table",
    python_env: Literal["own", "current"] = "own",
) -> int:
    """List frameworks, models and suites.

    A framework's variants are shown with what is built of them, a model with its cases.

    Args:
        format_: Tables to read, or one JSON object.
        python_env: Where Python frameworks are looked for: `own`, each in its environment; `current`, in the
            interpreter that runs Arena.
    """
    with using(python_env):
        listing = listed()
    if format_ == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(listing), indent=2).decode() + "\n")
    else:
        _print(listing)
    return 0


def listed() -> Listing:
    """Every manifest there is.

    Raises:
        ArenaError: one of them is wrong.
    """
    return Listing(
        frameworks=[_framework(framework(name)) for name in frameworks()],
        models=[
            ListedModel(
                name=name,
                title=found.file.title,
                architecture=found.file.architecture,
                parameters=found.file.parameters,
                cases=[case.name for case in found.cases],
            )
            for name, found in ((name, model(name)) for name in models())
        ],
        suites=[
            ListedSuite(name=name, title=found.title, models=found.models, tasks=[*found.tasks])
            for name, found in ((name, suite(name)) for name in suites())
        ],
    )


def _framework(found: Framework) -> ListedFramework:
    return ListedFramework(
        name=found.name,
        title=found.title,
        language=found.language,
        version=found.version,
        variants=[_variant(variant, locate(found, variant)) for variant in found.variants],
    )


def _variant(variant: Variant, outcome: Built | NotBuilt) -> ListedVariant:
    built = isinstance(outcome, Built)
    return ListedVariant(
        name=variant.name,
        backend=variant.backend,
        precision=variant.precision,
        default=variant.default,
        built=built,
        reason=None if isinstance(outcome, Built) else outcome.reason,
        shipped_bytes=outcome.shipped_bytes if isinstance(outcome, Built) else None,
    )


def _print(listing: Listing) -> None:
    from arena_py.build.progress import size
    from arena_py.cli.tables import console, table

    results: Console = console()
    rows = table(results, "frameworks", "variant", "version", "backend", "built")
    for found in listing.frameworks:
        for variant in found.variants:
            state = size(variant.shipped_bytes) if variant.shipped_bytes is not None else variant.reason or "yes"
            label = f"{found.name}:{variant.name}"
            rows.add_row(label if variant.default else f"{label} (on request)", found.version, variant.backend, state)
    results.print(rows)
    rows = table(results, "\nmodels", "model", "architecture", "parameters", "cases")
    for entry in listing.models:
        cases = ", ".join(case.partition("/")[2] for case in entry.cases)
        rows.add_row(entry.name, entry.architecture, f"{entry.parameters:,}", cases)
    results.print(rows)
    rows = table(results, "\nsuites", "suite", "models", "tasks", "what for")
    for plan in listing.suites:
        rows.add_row(plan.name, ", ".join(plan.models), ", ".join(plan.tasks), plan.title)
    results.print(rows)
