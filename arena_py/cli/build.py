"""`build`: executables by cargo, environments by uv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

    from arena_py.build import NotBuilt

Switch: TypeAlias = Annotated[bool, Parameter(negative=())]
"""An option that is only ever turned on."""


def build(*frameworks: str, lock: Switch = False, force: Switch = False, torch_backend: str | None = None) -> int:
    """Build the runners of frameworks.

    Executables go to artifacts/bin, environments to artifacts/env, a log of each to artifacts/logs. Nothing is built
    again when nothing changed. Ends with 0 when everything asked for is built, with 1 otherwise.

    Args:
        frameworks: `FRAMEWORK` (its default variants) or `FRAMEWORK:VARIANT`; every framework when absent.
        lock: Resolve the pinned packages of the Python frameworks anew before building.
        force: Build even what is up to date.
        torch_backend: Which wheels of torch environments get: `registry`, an index of PyTorch such as `cpu`, or `auto`:
            the CPU-only ones where no CUDA driver is found and their index can be reached, else the registry's.
    """
    from arena_py.build import Built, ensure
    from arena_py.build.progress import shown, size
    from arena_py.cli.measuring import tidied
    from arena_py.cli.tables import console, table

    meanwhile = console(stderr=True)
    if lock:
        _lock(frameworks, meanwhile)
    tidied(meanwhile)
    with shown(meanwhile) as progress:
        outcomes = ensure(frameworks, progress, again=force, torch_backend=torch_backend)
    results = console()
    rows = table(results, "", "runner", "version", "size", "built by", "took")
    for label, outcome in outcomes.items():
        if isinstance(outcome, Built):
            kept = outcome.record
            took = f"{kept.seconds or 0:.0f} s"
            version = f"{kept.torch.version} ({kept.torch.index})" if kept.torch else kept.version
            rows.add_row(label, version, size(kept.bytes or 0), kept.compiler.split(" (")[0], took)
    if rows.row_count:
        results.print(rows)
    failed = {label: outcome for label, outcome in outcomes.items() if not isinstance(outcome, Built)}
    for label, failure in failed.items():
        _explain(label, failure, meanwhile)
    return int(any(not failure.declared for failure in failed.values()))


def _lock(selectors: tuple[str, ...], meanwhile: Console) -> None:
    from arena_py.build import environment, lockfile
    from arena_py.manifest.framework import frameworks, parse

    chosen = [parse(selector) for selector in selectors or frameworks()]
    locks = {
        lockfile.path_of(found, own): (found, own)
        for found, variants in chosen
        if found.language == "python"
        for own in (variant if variant.requirements else None for variant in variants)
    }
    seconds = [found.companion for found, _ in chosen if found.companion]
    locks |= {lockfile.path_of(second): (second, None) for second in seconds}
    if not locks:
        raise ArenaError("--lock is for python frameworks", hint="a rust runner's lock is its Cargo.lock")
    for path, (found, own) in locks.items():
        name = environment.name_of(found, own)
        with meanwhile.status(f"{name}: resolving"):
            lockfile.make(found, environment.log_of(f"{name}-lock"), own)
        meanwhile.print(f"{name}: wrote {path}", markup=False, soft_wrap=True)


def _explain(label: str, failure: NotBuilt, meanwhile: Console) -> None:
    """The reason, the last words of the tool, and what to do."""
    lines = [f"error: {label}: {failure.reason}"]
    lines += [f"  | {line}" for line in failure.log_tail]
    lines += [f"log: {failure.log}"] if failure.log else []
    lines += [f"hint: {failure.hint}"] if failure.hint else []
    meanwhile.print("\n".join(lines), markup=False, soft_wrap=True)
