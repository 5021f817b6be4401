"""An audit as a table on a terminal, as Markdown, CSV and JSON: what is shipped, opened, started and held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from arena_py.report import text
from arena_py.report.csv import written
from arena_py.report.markdown import escaped
from arena_py.results import audits

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from arena_py.footprint.document import Audit, Entry, Launches

LARGEST = 12
"""Crates or distributions of an entry that are listed."""
TICK_S = 0.01
MEMORY_HEAD = ("runner", "task", "peak memory", "x weights", "")


def shipped(found: Audit) -> tuple[list[str], list[list[str]]]:
    """What is on disk."""
    head = ["runner", "version", "shipped", "compressed", "linked", "libraries", "python", "opened", "licences"]
    return head, [
        [
            entry.label,
            entry.version or "",
            _size(entry.shipped_bytes),
            _size(entry.executable.zstd_bytes) if entry.executable else "",
            entry.executable.linkage if entry.executable else "",
            _libraries(entry),
            _size(entry.environment.runtime.bytes) if entry.environment and entry.environment.runtime else "",
            _opened(entry),
            str(len({each.licence for each in entry.components if each.licence})) if entry.components else "",
        ]
        for entry in found.entries
        if entry.shipped_bytes is not None
    ]


def needs(found: Audit) -> tuple[list[str], list[list[str]]]:
    """What a machine must have, and what a build took."""
    head = ["runner", "glibc", "cpu", "how the cpu is known", "built in", "by", "crates or packages", "only to build"]
    return head, [
        [
            entry.label,
            (entry.executable.oldest_glibc or "none") if entry.executable else "",
            entry.executable.cpu_level if entry.executable else "",
            entry.executable.cpu_level_from if entry.executable else "",
            f"{entry.build.seconds:.0f} s" if entry.build and entry.build.seconds else "",
            entry.build.compiler.split(" (")[0] if entry.build else "",
            str(len(entry.components)),
            "" if entry.build_only is None else str(entry.build_only),
        ]
        for entry in found.entries
        if entry.shipped_bytes is not None
    ]


def startups(found: Audit) -> tuple[list[str], list[list[str]]]:
    """Starts, warm and cold."""
    head = ["runner", "start", "launches", "to ready", "to first output", "cpu to ready", "cpu to first", "peak memory"]
    rows = []
    for entry in found.entries:
        for kind, launches in _starts(entry):
            rows.append(
                [
                    entry.label,
                    kind,
                    str(launches.launches),
                    text.measured(launches.ready_ns),
                    text.measured(launches.first_ns),
                    _cpu(launches.cpu_ready_s),
                    _cpu(launches.cpu_first_s),
                    _size(launches.peak_bytes),
                ]
            )
    return head, rows


def memory(found: Audit) -> tuple[list[str], list[list[str]]]:
    """Peak memory of each task."""
    return list(MEMORY_HEAD), [
        [
            entry.label,
            each.task,
            _size(each.peak_bytes),
            "" if each.over_weights is None else f"{each.over_weights:.2f}",
            "" if each.status == "passed" else f"{each.status}: {each.reason}",
        ]
        for entry in found.entries
        for each in entry.memory
    ]


TABLES: dict[str, Callable[[Audit], tuple[list[str], list[list[str]]]]] = {
    "What is shipped": shipped,
    "What it needs": needs,
    "Start-up": startups,
    "Memory": memory,
}


def parts(entry: Entry) -> list[str]:
    """The largest parts of an entry, a line each: distributions, crates by their code, sections."""
    if entry.environment:
        found = entry.environment.distributions
        lines = [
            f"{each.name} {each.version} ({each.role}): {_size(each.bytes) or 'no RECORD'}"
            + ("" if each.opened_bytes is None else f", opened {_size(each.opened_bytes)}")
            for each in found[:LARGEST]
        ]
        return lines + ([f"and {len(found) - LARGEST} more"] if len(found) > LARGEST else [])
    if entry.executable is None:
        return []
    code = [f"{each.crate}: {_size(each.bytes)}, {each.share:.1%} of the code" for each in entry.executable.code]
    sections = sorted((each for each in entry.executable.sections if each.in_file), key=lambda each: -each.bytes)
    told = ", ".join(f"{each.name} {_size(each.bytes)}" for each in sections[:6])
    return [f"sections: {told}", f"code by crate: {entry.executable.code_from}", *code[:LARGEST]]


def remarks(found: Audit) -> list[str]:
    """What is not as it should be, and what could not be found out."""
    lines = []
    for entry in found.entries:
        if entry.status != "ok":
            lines.append(f"{entry.label}: {entry.status}: {entry.reason}")
        lines += [f"{entry.label}: {note}" for note in entry.notes]
        if entry.opened:
            lines.append(f"{entry.label}: files that it opened, by {entry.opened.how}")
        if entry.startup and entry.startup.cold and (evicted := entry.startup.cold.evicted) is not None:
            lines.append(
                f"{entry.label}: cold by {entry.startup.cold_how}, after which {evicted:.1%} was out of memory"
            )
        elif entry.startup:
            lines.append(f"{entry.label}: cold starts: {entry.startup.cold_how}")
        if entry.startup and entry.startup.asked and entry.startup.warm.launches < entry.startup.asked:
            made, asked = entry.startup.warm.launches, entry.startup.asked
            lines.append(
                f"{entry.label}: {made} of {asked} starts of each kind, in the {entry.startup.budget_s:g} s of --budget"
            )
        for name, size in entry.environment.beside.items() if entry.environment else ():
            lines.append(f"{entry.label}: needs the environment {name} beside it, {_size(size)}, to make what it runs")
    return [*lines, *(f"{label}: not reached, the audit was interrupted" for label in found.unfinished)]


def show(found: Audit, console: Console) -> None:
    """Print it on a terminal."""
    for title, table in TABLES.items():
        head, body = table(found)
        if body:
            _print(console, f"\n{title}", "bold")
            safe = [[text.plain(value) for value in row] for row in body]
            _print(console, str(tabulate(safe, head, tablefmt="simple", disable_numparse=True)))
    weights = dict.fromkeys(entry.weights_bytes for entry in found.entries if entry.weights_bytes)
    for size in weights:
        _print(console, f"\nThe weights of {found.model} are {text.size(size)}, and not among the above")
    if lines := remarks(found):
        _print(console, "\nNotes", "bold")
        for line in lines:
            _print(console, f"  {text.plain(line)}")


def markdown(found: Audit) -> str:
    """The same as a page, with the parts of each entry."""
    pages = [f"# Footprint: {escaped(found.model)}"]
    for title, table in TABLES.items():
        head, body = table(found)
        if body:
            safe = [[escaped(value) for value in row] for row in body]
            pages += [f"## {title}", str(tabulate(safe, head, tablefmt="github", disable_numparse=True))]
    for entry in found.entries:
        if lines := parts(entry):
            pages += [f"## {escaped(entry.label)}", _list(lines)]
    if lines := remarks(found):
        pages += ["## Notes", _list(lines)]
    return "\n\n".join(pages) + "\n"


def csv(found: Audit) -> str:
    """A head and a row for each entry, plain numbers, units in the names."""
    return written([_row(entry) for entry in found.entries])


def json(found: Audit) -> str:
    """`audit.json`, byte for byte."""
    return audits.encode(found).decode()


def _row(entry: Entry) -> dict[str, object]:
    program, environment = entry.executable, entry.environment
    runtime = environment.runtime if environment else None
    warm = entry.startup.warm if entry.startup else None
    cold = entry.startup.cold if entry.startup else None
    values: dict[str, object] = {
        "label": entry.label,
        "kind": entry.kind,
        "status": entry.status,
        "reason": entry.reason,
        "version": entry.version,
        "shipped_bytes": entry.shipped_bytes,
        "zstd_bytes": program.zstd_bytes if program else None,
        "linkage": program.linkage if program else None,
        "library_bytes": sum(each.bytes or 0 for each in program.libraries) if program else None,
        "oldest_glibc": program.oldest_glibc if program else None,
        "cpu_level": program.cpu_level if program else None,
        "framework_bytes": environment.framework_bytes if environment else None,
        "runtime_bytes": runtime.bytes if runtime else None,
        "opened_files": entry.opened.files if entry.opened else None,
        "opened_bytes": entry.opened.bytes if entry.opened else None,
        "components": len(entry.components),
        "build_s": entry.build.seconds if entry.build else None,
        "weights_bytes": entry.weights_bytes,
        "warm_ready_ns": warm.ready_ns.value if warm else None,
        "warm_first_ns": warm.first_ns.value if warm else None,
        "cold_ready_ns": cold.ready_ns.value if cold else None,
        "cold_first_ns": cold.first_ns.value if cold else None,
        "peak_bytes": warm.peak_bytes if warm else None,
    }
    return {name: "" if value is None else value for name, value in values.items()}


def _libraries(entry: Entry) -> str:
    if entry.executable is None:
        return f"{len(entry.opened.libraries)} mapped" if entry.opened else ""
    found = entry.executable.libraries
    missing = [each.name for each in found if each.path is None]
    told = f"{len(found)}, {_size(sum(each.bytes or 0 for each in found))}" if found else "none"
    if missing:
        told += f", not found: {', '.join(missing)}"
    if entry.opened and entry.opened.libraries:
        told += f" + {len(entry.opened.libraries)} at run time, "
        told += _size(sum(each.bytes or 0 for each in entry.opened.libraries))
    return told


def _opened(entry: Entry) -> str:
    return f"{_size(entry.opened.bytes)} in {entry.opened.files} files" if entry.opened else ""


def _starts(entry: Entry) -> list[tuple[str, Launches]]:
    if entry.startup is None:
        return []
    cold = [("cold", entry.startup.cold)] if entry.startup.cold else []
    return [("warm", entry.startup.warm), *cold]


def _cpu(seconds: float) -> str:
    """The system counts processor time in ticks, which are no shorter."""
    return text.duration(seconds * 1e9) if seconds >= TICK_S else f"under {text.duration(TICK_S * 1e9)}"


def _size(count: int | None) -> str:
    return "" if count is None else text.size(count)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _print(console: Console, words: str, style: str | None = None) -> None:
    console.print(words, style=style, markup=False, highlight=False, soft_wrap=True)
