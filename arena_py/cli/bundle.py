"""`bundle`: the smallest archive that runs a model, and the proof that it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from arena_py.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

    from arena_py.footprint.bundle import Bundle

FOLDERS = {
    "program": ("bin", "python", "arena_py", "graphs", "exporter"),
    "libraries of the system": ("lib", "vulkan"),
    "model": ("model",),
}


def bundle(
    variant: str | None = None,
    /,
    *,
    model: str = "smollm2-135m",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    verify: Path | None = None,
    threads: int | None = None,
    weights: str | None = None,
) -> int:
    """Pack the smallest archive that runs a model, or prove that one does with nothing else.

    `bundle VARIANT --model M -o FILE` executes the model once, and packs what it opened: the executable or the part of
    the environment, the Python below it, the system's libraries with the loader, weights, inputs, a manifest, and a
    script `run`. `bundle --verify FILE` unpacks it into an empty root without a network, runs it there, and holds its
    outputs against the reference. Ends with 0 when they are right, with 1 otherwise.

    Args:
        variant: FRAMEWORK or FRAMEWORK:VARIANT, built before.
        model: What is packed with it.
        output: The archive; its name ends in .tar.zst.
        verify: An archive to prove, in place of making one.
        threads: CPU threads of the runner; all physical cores when absent.
        weights: `seeded`, the path of a safetensors file, or `hub:OWNER/NAME`; the model's own when absent.
    """
    from arena_py.cli.tables import console
    from arena_py.footprint.bundle import SUFFIX

    results = console()
    if verify is not None:
        if variant is not None or output is not None:
            raise ArenaError("--verify takes an archive alone", hint="bundle --verify FILE")
        return _prove(verify, results)
    if variant is None or output is None:
        raise ArenaError("bundle needs a variant and a file", hint="bundle VARIANT --model M -o FILE.tar.zst")
    if not output.name.endswith(SUFFIX):
        raise ArenaError(f"{output}: a bundle's name ends in {SUFFIX}", hint=f"-o {output}{SUFFIX}")
    if not output.absolute().parent.is_dir():
        raise ArenaError(f"{output.parent}: no such folder")
    made = _pack(variant, model, output, threads, weights)
    _tell(results, made, output)
    return 0


def _pack(variant: str, model: str, output: Path, threads: int | None, weights: str | None) -> Bundle:
    from arena_py import scratch
    from arena_py.cli.tables import console
    from arena_py.contract.session import RunnerFailed
    from arena_py.footprint import bundle, layout, survey, takeapart
    from arena_py.footprint.subject import Subject
    from arena_py.verify import gate

    meanwhile = console(stderr=True)

    def say(words: str) -> None:
        meanwhile.print(words, markup=False, highlight=False, soft_wrap=True)

    asked = survey.Asked(selectors=[variant], model=model, threads=threads, weights=weights, memory=False, launches=0)
    with scratch.folder() as folder:
        runner = survey.only(asked, folder, say)
        subject = Subject(runner)
        say(f"{runner.label}: executing it twice, the second time watched")
        try:
            subject.launch()
            trace, verification = subject.watched()
        except RunnerFailed as error:
            raise ArenaError(f"{runner.label}: {error.reason}", exit_code=1) from error
        if wrong := gate.reason(verification):
            raise ArenaError(f"{runner.label} is wrong on {runner.files.case.name}: {wrong}", exit_code=1)
        say(f"{runner.label}: packing")
        opened = takeapart.opened(trace, [], None)
        return bundle.write(output, layout.of(runner, trace), runner, subject.exercise, opened)


def _prove(archive: Path, results: Console) -> int:
    from arena_py.footprint.proof import prove
    from arena_py.report import text
    from arena_py.verify import gate

    proof = prove(archive)
    _tell(results, proof.made, archive)
    lines = [f"isolated by {proof.isolation.tells}"]
    if proof.startup_ns is not None:
        lines.append(f"ready after {text.duration(proof.startup_ns)}, its isolation included")
    wrong = gate.reason(proof.verification)
    worst = proof.verification.worst
    lines.append(f"wrong: {wrong}" if wrong else "right: its outputs are those of the reference")
    if worst is not None and worst.error is not None:
        lines.append(f"error {worst.error:.1e}, limit {worst.limit:.1e}")
    for line in lines:
        results.print(text.plain(line), markup=False, highlight=False, soft_wrap=True)
    return int(wrong is not None)


def _tell(results: Console, made: Bundle, archive: Path) -> None:
    from arena_py.report import text

    lines = [f"{archive}: {text.size(archive.stat().st_size)}, {made.label} {made.version} on {made.case}"]
    for what, folders in FOLDERS.items():
        lines.append(f"  {what}: {text.size(made.bytes_below(*folders))} unpacked")
    lines.append(f"  {len(made.files)} files, chosen by what an execution opened, watched by {made.traced_by}")
    for line in lines:
        results.print(
            text.plain(line) if not line.startswith(" ") else line, markup=False, highlight=False, soft_wrap=True
        )
