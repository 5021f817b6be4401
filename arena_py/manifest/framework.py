"""A framework: where its runner comes from, its exact pins, and its variants."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from arena_py.contract.messages import BoundaryName, Precision
from arena_py.errors import ArenaError
from arena_py.manifest import toml

PYTHON_KEYS = ("requirements", "torch_backend", "compiled", "build_tools")
RUST_KEYS = ("features", "profile", "rustflags", "toolkit", "compute_capability", "libraries")
"""Keys of a variant that make a build of its own in one language and mean nothing in the other."""


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run a framework: a backend and its settings."""

    name: toml.Name
    backend: str
    precision: Precision = "f32"
    boundary: BoundaryName = "host"
    default: bool = True
    """Whether it runs when the framework is named without a variant."""
    environment: dict[str, str] = {}
    """Environment variables of the runner; `{threads}` is replaced by the thread count."""
    features: list[str] = []
    """Rust: cargo features of a build of its own; empty: the framework's plain executable."""
    profile: toml.Name | None = None
    """Rust: cargo's profile of a build of its own; `release` when absent."""
    rustflags: list[str] = []
    """Rust: the compiler's flags for a build of its own, in place of those in the crate's `.cargo/config.toml`."""
    toolkit: Literal["cuda"] | None = None
    """Rust: what a build of its own needs beside cargo; fetched where the machine has none."""
    compute_capability: str | None = None
    """Rust: what the toolkit compiles for where no device tells (`"90"`)."""
    libraries: list[str] = []
    """Rust: shared libraries that it starts with (`libcublas.so.13`); looked for, and `unavailable` without them."""
    shares: toml.Name | None = None
    """The variant whose executable or environment this one is started from, too."""
    requirements: list[str] = []
    """Python: all pins of an environment of its own, the framework's first; the lock is `NAME-VARIANT.lock`."""
    torch_backend: str | None = None
    """Python: torch's wheels in an environment of its own are those of this index of PyTorch (`rocm7.2`, `xpu`)."""
    compiled: dict[str, dict[str, str]] = {}
    """Python: settings for an environment of its own, beside those of the framework's `compiled`."""
    build_tools: list[toml.Name] = []
    """Python: programs on `PATH` that making an environment of its own needs (`glslc`)."""
    tools: list[toml.Name] = []
    """Programs that running it needs, besides its device: `c++`, or the name of an executable on `PATH`."""
    platforms: list[str] = []
    """`sys.platform` values where it exists; empty: everywhere."""

    @property
    def own_build(self) -> bool:
        """Whether it is started from an executable or an environment of its own."""
        return bool(self.features or self.profile or self.requirements or self.torch_backend or self.compiled)


class Framework(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifests/frameworks/NAME.toml`."""

    name: toml.Name
    title: str
    language: Literal["python", "rust"]
    version: str
    """The exact version under test."""
    variants: list[Variant]
    requirements: list[str] = []
    """Python: exact pins of the environment, the framework's own first; the lock beside the manifest is `NAME.lock`."""
    exporter: list[str] = []
    """Python: exact pins of a second environment, `NAME-exporter`, that makes what the runner executes."""
    python: str = "3.10"
    """Python: the oldest version that the requirements run on."""
    compiled: dict[str, dict[str, str]] = {}
    """Python: packages that are compiled where the environment is made, and the settings of each build.
    `{processor}` is replaced by a short name for what the processor can do."""
    crate: toml.Name | None = None
    """Rust: the folder under `rust_bins/`; the executable is `arena-CRATE`."""
    notes: str = ""

    def variant(self, name: str) -> Variant:
        """The variant called `name`.

        Raises:
            ArenaError: the framework has none of that name.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise ArenaError(
            f"unknown variant of {self.name}: {name}", hint=f"known: {', '.join(v.name for v in self.variants)}"
        )

    @property
    def companion(self) -> Framework | None:
        """The second environment, as a framework of its own."""
        if not self.exporter:
            return None
        return msgspec.structs.replace(
            self, name=f"{self.name}-exporter", requirements=self.exporter, exporter=[], variants=[]
        )

    def builder(self, variant: Variant) -> Variant | None:
        """The variant whose own executable or environment `variant` is started from; none: the framework's."""
        chosen = self.variant(variant.shares) if variant.shares else variant
        return chosen if chosen.own_build else None

    def compiling(self, variant: Variant | None = None) -> dict[str, dict[str, str]]:
        """The settings of every package that is compiled for an environment, by package."""
        own = variant.compiled if variant else {}
        packages = self.compiled.keys() | own.keys()
        return {package: self.compiled.get(package, {}) | own.get(package, {}) for package in packages}

    def pins(self, variant: Variant | None = None) -> list[str]:
        """The requirements of the framework's environment, or of the one that a variant has of its own."""
        return variant.requirements if variant and variant.requirements else self.requirements


def frameworks() -> list[str]:
    """The names of all frameworks."""
    return toml.names("frameworks")


@cache
def framework(name: str) -> Framework:
    """The framework called `name`.

    Raises:
        ArenaError: unknown, or its manifest is wrong.
    """
    path = toml.find("frameworks", name)
    found = toml.read(path, Framework)
    if found.name != path.stem:
        raise ArenaError(f"{path}: name is {found.name!r}, expected {path.stem!r} like the file")
    if found.language == "rust" and found.crate is None:
        raise ArenaError(f"{path}: a rust framework needs the key `crate`")
    for variant in found.variants:
        for key in PYTHON_KEYS if found.language == "rust" else RUST_KEYS:
            if getattr(variant, key):
                raise ArenaError(f"{path}: variant {variant.name}: `{key}` is not for a {found.language} framework")
        if variant.shares is not None:
            if variant.own_build:
                raise ArenaError(f"{path}: variant {variant.name}: `shares` and a build of its own exclude each other")
            if not found.variant(variant.shares).own_build:
                raise ArenaError(f"{path}: variant {variant.name}: `{variant.shares}` has no build of its own to share")
    return found


def parse(selector: str) -> tuple[Framework, list[Variant]]:
    """`candle` (its default variants) or `burn:vulkan` (that one).

    Raises:
        ArenaError: an unknown framework or variant.
    """
    name, _, variant = selector.partition(":")
    found = framework(name)
    return found, [found.variant(variant)] if variant else [v for v in found.variants if v.default]
