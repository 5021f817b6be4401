"""`audit`: what has to be shipped to run a model, measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from arena_py.errors import ArenaError

Several: TypeAlias = Annotated["list[str] | None", Parameter(negative="", consume_multiple=True)]
Switch: TypeAlias = Annotated[bool, Parameter(negative=())]

BROKEN = ("wrong", "unreadable", "out_of_memory", "crashed", "timed_out", "not_built")


def audit(
    *subjects: str,
    model: str = "smollm2-135m",
    task: Several = None,
    launches: int = 20,
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
    kept in artifacts/results; `diff` of two audits shows what grew. Ends with 0 when everything could be audited or is
    declared unsupported or unavailable, with 1 otherwise.

    Args:
        subjects: FRAMEWORK, FRAMEWORK:VARIANT, or the path of an executable or environment, which is only read; every
            framework when absent.
        model: What is executed.
        task: Tasks whose memory is weighed: infer, decode and train when absent.
        launches: Starts of each runner, so many cold and so many warm; 0 for none.
        threads: CPU threads of each runner; all physical cores when absent.
        weights: `seeded`, the path of a safetensors file, or `hub:OWNER/NAME`; the model's own when absent.
        memory: Whether to weigh the memory of tasks.
        symbols: Whether to build Rust executables once more with their symbols, for the share of each crate.
        format: How the results are printed.
        output: The folder of the audit's files; a new one under artifacts/results when absent.
    """
    from arena_py.cli.tables import console
    from arena_py.footprint import survey
    from arena_py.report import audit as report
    from arena_py.results import audits
    from arena_py.results.store import RunFolder

    if launches < 0:
        raise ArenaError(f"--launches {launches} is negative")
    paths = [Path(name) for name in subjects if _is_path(name)]
    asked = survey.Asked(
        selectors=[name for name in subjects if not _is_path(name)],
        model=model,
        tasks=task or (),
        launches=launches,
        threads=threads,
        weights=weights,
        memory=memory,
        symbols=symbols,
    )
    meanwhile = console(stderr=True)

    def say(words: str) -> None:
        meanwhile.print(words, markup=False, highlight=False, soft_wrap=True)

    entries = [survey.of_path(path) for path in paths]
    if asked.selectors or not paths:
        entries += survey.of_variants(asked, say)
    folder = RunFolder.create("audit", output)
    found = survey.document(asked, entries, folder.id, ["arena", *sys.argv[1:]])
    audits.save(folder.path, found, report.markdown(found))
    if format == "table":
        report.show(found, console())
    else:
        sys.stdout.write({"md": report.markdown, "csv": report.csv, "json": report.json}[format](found))
    say(f"kept in {folder.path}")
    return int(any(entry.status in BROKEN for entry in found.entries))


def _is_path(name: str) -> bool:
    """A selector has no separator and no file of its name."""
    return os.sep in name or Path(name).exists() or Path(name).is_symlink()
