"""`audit`: what has to be shipped to run a model, measured."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]
Switch: TypeAlias = Annotated[bool, Parameter(negative=())]

BROKEN = ("wrong", "unreadable", "crashed", "timed_out", "not_built")


def audit(
    *subjects: str,
    model: str = "smollm2-135m",
    task: Several = None,
    launches: int = 20,
    budget: float = 600.0,
    threads: int | None = None,
    weights: str | None = None,
    memory: Annotated[bool, Parameter(negative="--no-memory")] = True,
    symbols: Switch = False,
    format: Literal["table", "md", "csv", "json"] = "table",  # noqa: A002 (the option's name)
    output: Path | None = None,
) -> int:
    """Measure what has to be shipped to run a model: executables, environments, start-up, memory.

    Every runner is taken apart, executed once while the files that it opens are watched, started again and again, and
    its outputs are held against the reference. A table, `audit.json` and a CycloneDX bill of materials for each are
    kept in artifacts/results, anew after each runner; `diff` of two audits shows what grew. Ends with 0 when everything
    could be audited or is declared unsupported or unavailable, with 1 otherwise.

    Args:
        subjects: FRAMEWORK, FRAMEWORK:VARIANT, or the path of an executable or environment, which is only read; every
            framework when absent.
        model: What is executed.
        task: Tasks whose memory is weighed: infer, decode and train when absent.
        launches: Starts of each runner, so many cold and so many warm; 0 for none.
        budget: Seconds that the starts of one runner may take; one that starts slowly is started less often then, six
            times at least, and the table says so.
        threads: CPU threads of each runner; all physical cores when absent.
        weights: `seeded`, the path of a safetensors file, or `hub:OWNER/NAME`; the model's own when absent.
        memory: Whether to weigh the memory of tasks.
        symbols: Whether to build Rust executables once more with their symbols, for the share of each crate.
        format: How the results are printed.
        output: The folder of the audit's files; a new one under artifacts/results when absent.
    """
    from itertools import chain

    from msgspec.structs import replace

    from arena_py.cli.tables import console
    from arena_py.footprint import progress, survey
    from arena_py.report import audit as report
    from arena_py.results import audits
    from arena_py.results.store import RunFolder

    if launches < 0:
        raise ArenaError(f"--launches {launches} is negative")
    if not budget > 0:
        raise ArenaError(f"--budget {budget:g} is not positive")
    paths = [Path(name) for name in subjects if _is_path(name)]
    asked = survey.Asked(
        selectors=[name for name in subjects if not _is_path(name)],
        model=model,
        tasks=task or (),
        launches=launches,
        budget_s=budget,
        threads=threads,
        weights=weights,
        memory=memory,
        symbols=symbols,
    )
    wanted = [each.label for each in asked.plan.candidates] if asked.selectors or not paths else []
    meanwhile = console(stderr=True)
    folder = RunFolder.create("audit", output)
    found = survey.document(asked, folder.id, ["arena", *sys.argv[1:]])
    try:
        with progress.shown(meanwhile) as told:
            for entry in chain(map(survey.of_path, paths), survey.of_variants(asked, told) if wanted else ()):
                entries = [*found.entries, entry]
                # One that is interrupted after half an hour leaves what it has.
                found = replace(found, entries=entries, unfinished=wanted[max(0, len(entries) - len(paths)) :])
                audits.save(folder.path, found, report.markdown(found))
    finally:
        if not found.entries:
            with contextlib.suppress(OSError):  # A folder of the user's has other files.
                folder.path.rmdir()
    if format == "table":
        report.show(found, console())
    else:
        sys.stdout.write({"md": report.markdown, "csv": report.csv, "json": report.json}[format](found))
    meanwhile.print(f"kept in {folder.path}", markup=False, highlight=False, soft_wrap=True)
    return int(any(entry.status in BROKEN for entry in found.entries))


def _is_path(name: str) -> bool:
    """A selector has no separator and no file of its name."""
    return os.sep in name or Path(name).exists() or Path(name).is_symlink()
