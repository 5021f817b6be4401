"""The crates that an executable is made from, with their licences, as cargo resolves them for this machine.

From `cargo tree`: `cargo metadata` unites the features of build scripts and of what is linked, and so names crates that
the build never compiles (438 instead of 128 for Burn).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arena_py.build import process, sources, tools
from arena_py.footprint.document import Component

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TIMEOUT_S = 300.0
FORMAT = "|{p}|{l}"
LINKED = "normal,no-proc-macro"
BUILT = "normal,build"
OLD_OR = re.compile(r"\s*/\s*")
"""`MIT/Apache-2.0`, as cargo had it before SPDX expressions."""


@dataclass(frozen=True)
class Crates:
    """The resolved graph of one build."""

    linked: list[Component]
    """What ends in the executable, the runner's own crate left out, by name."""
    build_only: int
    """Crates that only build scripts and macros need."""


def of(crate: str, features: list[str]) -> Crates | str:
    """The crates of a runner, or why they are not known.

    Args:
        crate: the folder of its sources.
        features: beyond the default ones.
    """
    cargo = tools.cargo()
    if cargo is None:
        return "cargo is not installed"
    folder = sources.folder_of(crate)
    told = [_tree(cargo, folder, features, edges) for edges in (LINKED, BUILT)]
    if told[0] is None or told[1] is None:
        return "cargo tree failed: the sources of its crates are neither in cargo's cache nor to be had"
    linked, built = (list(_lines(each)) for each in told if each is not None)
    checksums = _checksums(folder / "Cargo.lock")
    known: dict[str, tuple[_Line, dict[str, None]]] = {}
    above: list[str] = []
    for line in linked:
        del above[line.depth :]
        if above:
            known[above[-1]][1][line.purl] = None
        above.append(line.purl)
        known.setdefault(line.purl, (line, {}))
    root = linked[0].purl
    components = [
        Component(
            name=line.name,
            version=line.version,
            licence=line.licence,
            purl=purl,
            sha256=checksums.get((line.name, line.version)),
            needs=sorted(needs),
        )
        for purl, (line, needs) in known.items()
        if purl != root
    ]
    components.sort(key=lambda each: (each.name, each.version))
    return Crates(components, len({line.purl for line in built} - known.keys()))


@dataclass(frozen=True)
class _Line:
    """One crate in the tree."""

    depth: int
    name: str
    version: str
    licence: str | None

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def _tree(cargo: str, folder: Path, features: list[str], edges: str) -> str | None:
    command = [cargo, "tree", "--locked", "--edges", edges, "--prefix", "depth", "--format", FORMAT]
    command += ["--features", ",".join(features)] if features else []
    # Sources that were fetched for the build are enough; the network only where they are gone.
    said = process.output([*command, "--offline"], cwd=folder, timeout_s=TIMEOUT_S)
    return said or process.output(command, cwd=folder, timeout_s=TIMEOUT_S)


def _lines(told: str) -> Iterator[_Line]:
    for line in told.splitlines():
        depth, package, licence = line.split("|", 2)
        name, version = package.split(" ")[:2]
        # ` (*)` marks what was told before.
        stated = OLD_OR.sub(" OR ", licence.removesuffix(" (*)").strip())
        yield _Line(int(depth), name, version.removeprefix("v"), stated or None)


def _checksums(lock: Path) -> dict[tuple[str, str], str]:
    packages = tomllib.loads(lock.read_text("utf-8")).get("package", [])
    return {(each["name"], each["version"]): each["checksum"] for each in packages if "checksum" in each}
