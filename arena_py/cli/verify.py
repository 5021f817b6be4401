"""`verify`: the numbers of runners without their times, and the gate's own test."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arena_py.manifest import Case, GateLimits
    from arena_py.verify.conformance import Target
    from arena_py.verify.self_test import Outcome
    from arena_py.verify.trials import Trial

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]


def verify(
    *,
    self_test: Annotated[bool, Parameter(negative="")] = False,
    suite: str = "quick",
    model: Several = None,
    task: Several = None,
    framework: Several = None,
    defect: Several = None,
    threads: int | None = None,
    format: Literal["table", "md"] = "table",  # noqa: A002 (the option's name)
) -> int:
    """Prove the numbers of runners without measuring them, or test the gate itself.

    Puts every built runner through the gate on the cases of a suite. With `--self-test` it also runs PyTorch with one
    mistake at a time (wrong rotary angles, no causal mask, half precision, stale gradients, ...) on golden cases and
    models, and tells how many times as wrong as the right runners the nearest of them is. Ends with 0 when whatever is
    right passes and whatever is wrong does not, with 1 otherwise.

    Args:
        self_test: Test the gate with runners that are wrong on purpose.
        suite: Whose cases and limits; a name or the path of a manifest.
        model: Only these models, in the suite or not.
        task: Only these tasks, in the suite or not.
        framework: Only these runners, each FRAMEWORK or FRAMEWORK:VARIANT; every built one when absent.
        defect: Only these mistakes of `--self-test`.
        threads: CPU threads of each runner; all cores when absent.
        format: How the results are printed.
    """
    from arena_py.cli.tables import console
    from arena_py.frameworks.defects import DEFECTS
    from arena_py.measure.plan import Selection, make_plan
    from arena_py.report import self_test as report
    from arena_py.verify.canon import Canon
    from arena_py.verify.self_test import SelfTest

    if unknown := [name for name in defect or () if name not in DEFECTS]:
        raise ArenaError(f"unknown mistake: {unknown[0]}", hint=f"known: {', '.join(DEFECTS)}")
    if defect and not self_test:
        raise ArenaError("--defect is for the gate's own test", hint="add --self-test")
    plan = make_plan(Selection(suite=suite, models=model or (), tasks=task or (), threads=threads))
    if "f32" not in plan.suite.gate:
        raise ArenaError(f"suite {suite} has no gate for f32")
    cores = threads or os.cpu_count() or 1
    rights = list(built(framework, cores))
    meanwhile = console(stderr=True)
    outcomes: list[Outcome] = []
    with Canon(cores) as canon, SelfTest(rights, cores, defect or (), wrong=self_test) as test:
        for outcome in test.run(_trials(plan.cases, canon, plan.suite.gate["f32"], golden=self_test and not model)):
            outcomes.append(outcome)
            told = report.line(outcome)
            meanwhile.print(told, markup=False, soft_wrap=True)
    labels = [target.label for target in rights]
    if format == "md":
        sys.stdout.write(report.markdown(outcomes, labels))
    else:
        report.show(outcomes, console(), wrong=self_test)
    return int(bool(report.problems(outcomes)))


def built(selectors: list[str] | None, threads: int) -> Iterator[Target]:
    """Every built variant of float32, or those that were asked for."""
    from arena_py.build import NotBuilt, locate
    from arena_py.manifest import frameworks
    from arena_py.manifest.framework import parse
    from arena_py.verify.conformance import Target

    for selector in selectors or frameworks():
        found, variants = parse(selector)
        for variant in variants:
            runner = locate(found, variant)
            if isinstance(runner, NotBuilt):
                if selectors:
                    raise ArenaError(
                        f"{found.name}:{variant.name} is not built: {runner.reason}",
                        hint=f"python -m arena_py build {found.name}",
                        exit_code=1,
                    )
                continue
            if variant.precision != "f32" or runner.missing:
                continue
            yield Target(
                label=f"{found.name}:{variant.name}",
                command=runner.command,
                backend=variant.backend,
                environment=runner.environment(variant),
                threads=threads,
                boundary=variant.boundary,
            )


def _trials(chosen: list[Case], canon: object, limits: GateLimits, *, golden: bool) -> Iterator[Trial]:
    from arena_py.verify import trials
    from arena_py.verify.canon import Canon
    from arena_py.verify.golden import cases, default_folder

    assert isinstance(canon, Canon)
    if golden:
        for golden_case in cases(default_folder()):
            yield from trials.of_golden(golden_case)
    for case in chosen:
        yield trials.of_model(case, canon, limits)
    yield from trials.small(chosen, canon, limits)
