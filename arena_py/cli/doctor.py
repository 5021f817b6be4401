"""`doctor`: what this machine can run, what is missing, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from arena_py.build import Built
    from arena_py.build.checks import Check
    from arena_py.manifest import Framework, Variant

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]"}


def doctor(*, python_env: Literal["own", "current"] = "own") -> int:
    """Tell what this machine can run, what is missing and how to get it.

    Runners that are built are asked to describe themselves. Ends with 0 when every default variant can run or be
    built, with 1 otherwise.

    Args:
        python_env: Where Python frameworks run: `own`, each in its environment; `current`, what the interpreter that
            runs Arena has.
    """
    from arena_py.build import using
    from arena_py.cli.tables import console
    from arena_py.manifest import framework, frameworks

    results = console()
    known = [framework(name) for name in frameworks()]
    tools = _tools(known)
    _print(results, "machine", tools)
    meanwhile = console(stderr=True)
    runners = []
    with meanwhile.status("") as status:
        for found, variant in _variants(known):
            told = f"asking {found.name}:{variant.name}"
            status.update(told)
            if not meanwhile.is_terminal:
                meanwhile.print(told, markup=False, highlight=False)
            with using(python_env):
                runners.append((variant.default, check(found, variant)))
    _print(results, "\nrunners", [found for _, found in runners])
    advice = dict.fromkeys(found.get for found in [*tools, *(found for _, found in runners)] if found.get)
    if advice:
        results.print("\n[bold]what to do[/]")
        for command in advice:
            results.print(f"  {command}", markup=False, soft_wrap=True)
    return int(any(default and found.status == "missing" for default, found in runners))


def check(framework: Framework, variant: Variant) -> Check:
    """Whether a variant runs here, or could be built."""
    from arena_py.build import Built, locate
    from arena_py.build.checks import Check, buildable, device

    name = f"{framework.name}:{variant.name}"
    outcome = locate(framework, variant)
    if not isinstance(outcome, Built) and outcome.declared:
        return Check(name, "warning" if outcome.hint else "ok", outcome.reason, outcome.hint)
    if lacking := device(variant):
        return Check(name, "missing", lacking.reason, lacking.hint)
    if isinstance(outcome, Built):
        return _asked(name, framework, variant, outcome)
    if outcome.place not in ("own", "prebuilt"):
        return Check(name, "missing", outcome.reason, outcome.hint)
    if obstacle := buildable(framework, variant):
        return Check(name, "missing", f"{outcome.reason}; cannot be built: {obstacle.reason}", obstacle.hint)
    return Check(name, "warning", f"{outcome.reason}; can be built", outcome.hint)


def _asked(name: str, framework: Framework, variant: Variant, built: Built) -> Check:
    """What a runner that is built says of itself, held against its manifest."""
    from arena_py.build.checks import Check
    from arena_py.build.describe import describe

    again = f"python -m arena_py build --force {name}" if built.record.place == "own" else None
    described = describe(built.command, built.environment(variant))
    if isinstance(described, str):
        return Check(name, "missing", described, again)
    version = described.framework.version
    if built.record.place == "own" and version.partition("+")[0] != framework.version:
        return Check(name, "missing", f"it says version {version}, its manifest {framework.version}", again)
    devices = [backend.device for backend in described.backends if backend.id == variant.backend]
    if not devices:
        return Check(name, "missing", f"it was built without the backend {variant.backend}", again)
    return Check(name, "ok", f"{version} on {devices[0]}{_which(built, framework)}")


def _which(built: Built, framework: Framework) -> str:
    """Which build it is, where there is a choice."""
    kept = built.record
    if kept.place == "prebuilt":
        return f", as pip installed it: {built.command[0]}"
    if kept.place != "own":
        other = f", the manifest's is {framework.version}" if kept.version != framework.version else ""
        return f", in the current interpreter{other}"
    return f", torch of the index {kept.torch.index}" if kept.torch else ""


def _tools(known: list[Framework]) -> list[Check]:
    from arena_py.build import checks

    rust = [found for found in known if found.language == "rust"]
    return [
        checks.python(),
        checks.uv(),
        checks.cargo(),
        checks.rustc(rust),
        checks.c_compiler(),
        checks.cuda(),
        *checks.needed_tools(known),
        *checks.watchers(),
        checks.vulkan_device(),
        checks.cpu(),
        checks.memory(),
        checks.disk(),
    ]


def _variants(known: list[Framework]) -> Iterator[tuple[Framework, Variant]]:
    for found in known:
        for variant in found.variants:
            yield found, variant


def _print(results: Console, title: str, found: list[Check]) -> None:
    from rich.text import Text

    from arena_py.cli.tables import table

    rows = table(results, title, "what", "state", "found")
    for each in found:
        rows.add_row(each.name, MARKS[each.status], Text(each.found))
    results.print(rows)
