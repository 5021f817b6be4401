"""Machine and method of a run in words: facts, settings, where the time went, hashes, and how to run it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

import msgspec

from arena_py.report import text
from arena_py.report.builds import builds
from arena_py.report.notes import notes
from arena_py.report.verdict import means, winners
from arena_py.results.document import Run

SHOWN_NOTES = 8
"""More of them are behind a line that opens: each is in its cell's panel, too."""


@dataclass(frozen=True)
class Section:
    """One part: terms with what they are, lines, a table, or a block of commands."""

    title: str
    terms: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    folded: bool = False
    """Whether the lines are shown only when asked for."""
    head: list[str] = field(default_factory=list)
    body: list[list[str]] = field(default_factory=list)
    commands: str = ""

    @property
    def told(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.terms or self.lines or self.body or self.commands)


def sections(run: Run) -> list[Section]:
    """Everything that is not a cell, in the order of a reader's questions."""
    told = notes(run)
    found = [
        Section("Results", lines=winners(run)),
        Section("Over all cases", lines=means(run)),
        Section("Machine", terms=_machine(run)),
        Section("Settings", terms=_settings(run)),
        Section("Noise floor", lines=_floor(run)),
        Section("Where the time went", lines=[text.spent(run.breakdown)] if run.breakdown else []),
        Section("Warnings", lines=run.warnings),
        Section("Notes", lines=told, folded=len(told) > SHOWN_NOTES),
        Section("Versions", head=["runner", "version", "built by", "features", "source", "lock"], body=_versions(run)),
        Section("Builds", lines=builds(run)),
        Section("Kernels that a runner brings itself", lines=_kernels(run)),
        Section(
            "What was computed",
            head=["case", "architecture", "weights", "sha256", "inputs", "reference", "float32 noise"],
            body=_files(run),
        ),
        Section("How to reproduce this run", lines=_again(run), commands=_commands(run)),
    ]
    return [section for section in found if section.told]


def _machine(run: Run) -> list[tuple[str, str]]:
    machine = run.machine
    virtual = {True: "yes", False: "no", None: "not known"}[machine.virtual]
    facts = [
        ("processor", machine.cpu),
        ("architecture", machine.architecture),
        ("cores", f"{machine.cores} physical, {machine.threads} logical, {machine.usable_threads:g} usable"),
        ("memory", text.size(machine.memory_bytes)),
        *(("GPU", device) for device in machine.gpus),
        ("system", f"{machine.system} {machine.kernel}"),
        ("virtual", virtual),
        ("governor", machine.governor or "not known"),
        ("clock", f"{machine.frequency_mhz:.0f} MHz" if machine.frequency_mhz else "not known"),
        ("load before", ", ".join(f"{load:.2f}" for load in machine.load_average) or "not known"),
        ("Python of the driver", machine.python),
    ]
    return facts + [("roofline", text.peaks(each)) for each in (run.roofline, *run.device_rooflines) if each]


def _settings(run: Run) -> list[tuple[str, str]]:
    sampling = run.settings.sampling
    gate = [
        f"{precision}: {limits.k:g} x PyTorch's own error in it + {limits.floor:g}"
        for precision, limits in run.settings.gate.items()
    ]
    return [
        ("suite", run.suite),
        ("threads", str(run.threads)),
        ("launches", str(sampling.launches)),
        ("samples", f"{sampling.min_samples} to {sampling.max_samples}"),
        ("until", f"± {sampling.half_width:.1%} of the median, or {sampling.budget_s:g} s of samples"),
        ("rounds", str(run.settings.rounds) if run.settings.rounds else "as many as that takes"),
        ("weights", run.settings.weights or "the models' own"),
        ("limits of the gate", "; ".join(gate)),
        ("seed", str(run.seed)),
        ("started", run.started),
        ("finished", run.finished or "interrupted before its end"),
        ("arena", run.arena),
    ]


def _floor(run: Run) -> list[str]:
    known = [f"{task}: {floor:.1%}" for task, floor in run.settings.noise_floor.items()]
    return known or ["not known on this machine with these threads: python -m arena_py aa finds it"]


def _versions(run: Run) -> list[list[str]]:
    rows = {
        cell.label: [
            cell.label,
            cell.build.version,
            cell.build.compiler,
            ", ".join(cell.build.features),
            (cell.build.source_sha256 or "")[:12],
            (cell.build.lock_sha256 or "")[:12],
        ]
        for cell in run.cells
        if cell.build
    }
    return list(rows.values())


def _kernels(run: Run) -> list[str]:
    own = {cell.label: cell.description.own_kernels for cell in run.cells if cell.description}
    return [f"{label}: {', '.join(kernels)}" for label, kernels in own.items() if kernels]


def _files(run: Run) -> list[list[str]]:
    return [
        [
            each.case,
            each.architecture,
            each.weights_source,
            each.weights_sha256[:12],
            each.inputs_sha256[:12],
            each.reference_sha256[:12],
            ", ".join(f"{group} {error:.1e}" for group, error in each.noise.items()),
        ]
        for each in run.cases
    ]


def _again(run: Run) -> list[str]:
    return [
        f"take version {run.arena} of Arena: its manifests pin the versions above, its locks the rest",
        "weights, inputs and the order of all rounds come from the seed: their hashes must be those above",
        "a virtual machine's neighbours, its clock and its temperature do not come back: expect the intervals to meet",
    ]


def _commands(run: Run) -> str:
    words = [each for each in run.command if each]
    # However it was started, the module is there wherever the package is.
    given = ["python", "-m", "arena_py", *words[1:]]
    seeded = given if any(word.startswith("--seed") for word in words) else [*given, "--seed", str(run.seed)]
    threads = [] if any(word.startswith("--threads") for word in words) else ["--threads", str(run.threads)]
    return shlex.join([*seeded, *threads])


def config(run: Run) -> list[tuple[str, str]]:
    """The public configuration of each case, as indented JSON."""
    return [(each.case, msgspec.json.format(msgspec.json.encode(each.config), indent=2).decode()) for each in run.cases]
