"""`conform`: any runner, put through golden cases and the rules of the contract."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from arena_py.contract.messages import Precision
from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.verify.conformance import Target


def conform(
    *runners: str,
    golden: Path | None = None,
    backend: str | None = None,
    precision: Precision | None = None,
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
        precision: What to load in; the variant's, or float32 where the runner's backend has it. Limits of a lower one
            are PyTorch's own error in it, which its environment computes.
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
    from arena_py.verify.canon import Canon
    from arena_py.verify.golden import cases, default_folder
    from arena_py.verify.yardstick import lowered

    golden_cases = cases(golden or default_folder())
    cores = threads or os.cpu_count() or 1
    printer = Printer()
    with using(python_env), Canon(cores) as canon:
        targets = list(_targets(runners, _Wanted(backend, precision, cores, in_process)))
        if not targets:
            raise ArenaError("no runner is built", hint="python -m arena_py build", exit_code=1)
        for target in targets:
            printer.start(target)
            for case in golden_cases:
                for result in conformance.check(target, lowered(case, target.precision, canon)):
                    printer.golden(result)
            if rules and target.in_process is None:
                for outcome in contract_rules.check(target, contract_rules.easiest(target, golden_cases)):
                    printer.rule(outcome)
            printer.finish()
    return printer.exit_code


@dataclass(frozen=True)
class _Wanted:
    """What was asked for, the same for every runner."""

    backend: str | None
    precision: Precision | None
    threads: int
    in_process: bool


def _targets(runners: tuple[str, ...], wanted: _Wanted) -> Iterator[Target]:
    from arena_py.manifest import frameworks

    for runner in runners or frameworks():
        path = Path(runner)
        if os.sep in runner or path.is_file():
            yield _executable(path, wanted)
        else:
            yield from _framework(runner, wanted, named=bool(runners))


def _executable(path: Path, wanted: _Wanted) -> Target:
    from arena_py.verify.conformance import Target

    if not path.is_file() or not os.access(path, os.X_OK):
        raise ArenaError(f"not an executable: {path}")
    command = [str(path.absolute())]
    backend, precision = wanted.backend, wanted.precision
    if backend is None or precision is None:
        described = _described(path, command)
        if backend is None:
            if not described:
                raise ArenaError(f"{path}: describes no backend", exit_code=1)
            backend = next(iter(described))
        precision = precision or _strictest(described.get(backend, []))
    return Target(
        label=f"{path.name} ({backend})",
        command=command,
        backend=backend,
        precision=precision,
        environment={},
        threads=wanted.threads,
    )


def _described(path: Path, command: list[str]) -> dict[str, list[str]]:
    """The precisions of each backend, in the order of the runner's own description."""
    import tempfile

    from arena_py.contract.session import RunnerFailed, Session

    try:
        with tempfile.TemporaryDirectory() as scratch, Session(command, scratch=Path(scratch)) as session:
            return {backend.id: backend.precisions for backend in session.description.backends}
    except RunnerFailed as error:
        raise ArenaError(f"{path}: {error.reason}", exit_code=1) from error


def _strictest(precisions: list[str]) -> Precision:
    """Float32, or the first known one where a backend has none."""
    known = [precision for precision in get_args(Precision) if precision in precisions]
    return "f32" if "f32" in known or not known else known[0]


def _framework(name: str, wanted: _Wanted, *, named: bool) -> Iterator[Target]:
    from arena_py import build
    from arena_py.manifest.framework import parse
    from arena_py.verify.conformance import Target

    framework, variants = parse(name)
    for variant in variants:
        here = wanted.in_process and framework.language == "python"
        built = build.in_process(framework, variant) if here else build.locate(framework, variant)
        if isinstance(built, build.NotBuilt):
            if named:
                hint = built.hint or f"python -m arena_py build {framework.name}"
                raise ArenaError(
                    f"{framework.name}:{variant.name} is not built: {built.reason}", hint=hint, exit_code=1
                )
            continue
        if built.missing:
            if named:
                lacking = build.lacking(built.missing)
                raise ArenaError(f"{framework.name}:{variant.name} {lacking.reason}", hint=lacking.hint, exit_code=1)
            continue
        yield Target(
            label=f"{framework.name}:{variant.name}",
            command=built.command,
            backend=wanted.backend or variant.backend,
            precision=wanted.precision or variant.precision,
            environment=built.environment(variant),
            threads=wanted.threads,
            boundary=variant.boundary,
            in_process=built.in_process,
        )
