"""`conform`: any runner, put through golden cases and the rules of the contract."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.verify.conformance import Target


def conform(
    *runners: str,
    golden: Path | None = None,
    backend: str | None = None,
    threads: int | None = None,
    rules: bool = True,
    python_env: Literal["own", "current"] = "own",
    in_process: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Put runners through golden cases and every rule of the contract.

    A runner is a framework's name (`candle`, `burn:vulkan`), built before, or the path of an executable that speaks
    the contract. Ends with 0 when every declared task is right and no rule is broken, with 1 otherwise.

    Args:
        runners: Frameworks or paths; every built framework when absent.
        golden: A folder of golden cases; Arena's own when absent.
        backend: The backend to load on; the variant's, or the first that the runner describes.
        threads: CPU threads of the runner; all cores when absent.
        rules: Whether to try the rules of the contract, too; with --in-process there is no pipe to try them on.
        python_env: Where Python frameworks run: `own`, each in its environment; `current`, what the interpreter that
            runs Arena has.
        in_process: Whether Python frameworks run in Arena's own process, imported by its interpreter.
    """
    from arena_py.build import using
    from arena_py.report.conformance import Printer
    from arena_py.verify import conformance
    from arena_py.verify import rules as contract_rules
    from arena_py.verify.golden import cases, default_folder

    golden_cases = cases(golden or default_folder())
    with using(python_env):
        targets = list(_targets(runners, backend, threads or os.cpu_count() or 1, in_process=in_process))
    if not targets:
        raise ArenaError("no runner is built", hint="python -m arena_py build", exit_code=1)
    printer = Printer()
    for target in targets:
        printer.start(target)
        for case in golden_cases:
            for result in conformance.check(target, case):
                printer.golden(result)
        if rules and target.in_process is None:
            for outcome in contract_rules.check(target, contract_rules.easiest(target, golden_cases)):
                printer.rule(outcome)
        printer.finish()
    return printer.exit_code


def _targets(runners: tuple[str, ...], backend: str | None, threads: int, *, in_process: bool) -> Iterator[Target]:
    from arena_py.manifest import frameworks

    for runner in runners or frameworks():
        path = Path(runner)
        if os.sep in runner or path.is_file():
            yield _executable(path, backend, threads)
        else:
            yield from _framework(runner, backend, threads, wanted=bool(runners), in_process=in_process)


def _executable(path: Path, backend: str | None, threads: int) -> Target:
    import tempfile

    from arena_py.contract.session import RunnerFailed, Session
    from arena_py.verify.conformance import Target

    if not path.is_file() or not os.access(path, os.X_OK):
        raise ArenaError(f"not an executable: {path}")
    command = [str(path.absolute())]
    if backend is None:
        try:
            with tempfile.TemporaryDirectory() as scratch, Session(command, scratch=Path(scratch)) as session:
                backends = session.description.backends
        except RunnerFailed as error:
            raise ArenaError(f"{path}: {error.reason}", exit_code=1) from error
        if not backends:
            raise ArenaError(f"{path}: describes no backend", exit_code=1)
        backend = backends[0].id
    return Target(label=f"{path.name} ({backend})", command=command, backend=backend, environment={}, threads=threads)


def _framework(name: str, backend: str | None, threads: int, *, wanted: bool, in_process: bool) -> Iterator[Target]:
    from arena_py import build
    from arena_py.manifest.framework import parse
    from arena_py.verify.conformance import Target

    framework, variants = parse(name)
    for variant in variants:
        here = in_process and framework.language == "python"
        built = build.in_process(framework, variant) if here else build.locate(framework, variant)
        if isinstance(built, build.NotBuilt):
            if wanted:
                hint = built.hint or f"python -m arena_py build {framework.name}"
                raise ArenaError(
                    f"{framework.name}:{variant.name} is not built: {built.reason}", hint=hint, exit_code=1
                )
            continue
        if built.missing:
            if wanted:
                lacking = build.lacking(built.missing)
                raise ArenaError(f"{framework.name}:{variant.name} {lacking.reason}", hint=lacking.hint, exit_code=1)
            continue
        yield Target(
            label=f"{framework.name}:{variant.name}",
            command=built.command,
            backend=backend or variant.backend,
            environment=built.environment(variant),
            threads=threads,
            boundary=variant.boundary,
            in_process=built.in_process,
        )
