"""What building and running needs of this machine: one check a thing, with the command that gets what is missing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from arena_py import places
from arena_py.build import compiled, crate, cuda_toolkit, libraries, lockfile, process, sources, tools, vulkan
from arena_py.build.outcome import NotBuilt
from arena_py.build.progress import size
from arena_py.errors import ArenaError
from arena_py.manifest import Framework, Variant

Status: TypeAlias = Literal["ok", "warning", "missing"]

OLDEST_PYTHON = (3, 10)
ROOM_BYTES = 15_000_000_000
"""PyTorch's environment with its CUDA libraries takes 6 GB, a Rust runner's target folder 1 to 2 GB each."""
MEMORY_BYTES = 4_000_000_000
"""Linking the largest Rust runner, or the float64 reference of the default model, takes about 3 GB."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked for."""

    name: str
    status: Status
    found: str
    get: str | None = None
    """The command, or the advice, that changes a status that is not `ok`."""


def python() -> Check:
    """The driver's own Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "missing", f"{found}, 3.10 or newer is needed", "uv python install 3.12")
    return Check("python", "ok", found)


def uv() -> Check:
    """The tool that makes environments."""
    path = tools.uv()
    said = process.output([path, "--version"]) if path else None
    if said is None:
        return Check("uv", "missing", "not found: no python framework can be built", tools.GET_UV)
    return Check("uv", "ok", " ".join(said.split()[:2]))


def cargo() -> Check:
    """The tool that builds Rust runners."""
    path = tools.cargo()
    said = process.output([path, "-V"], cwd=places.rust_bins()) if path else None
    if said is None:
        return Check("cargo", "missing", "not found: no rust framework can be built", tools.GET_CARGO)
    return Check("cargo", "ok", said.split(" (")[0].strip())


def rustc(rust: list[Framework]) -> Check:
    """The compiler, against the newest that any of the crates asks for."""
    found = tools.rustc_version(places.rust_bins())
    if found is None:
        return Check("rustc", "missing", "not found: no rust framework can be built", tools.GET_CARGO)
    needs = {}
    for framework in rust:
        try:
            needs[framework.name] = sources.needed_rust(framework.crate or "") or "0.0"
        except OSError:
            continue
    version = found.split(" (")[0]
    newest = max(needs.items(), key=lambda item: tools.version_numbers(item[1]), default=("", "0.0"))
    if tools.version_numbers(found) < tools.version_numbers(newest[1]):
        return Check("rustc", "missing", f"{version}, {newest[0]} needs {newest[1]}", "rustup update stable")
    return Check("rustc", "ok", f"{version} ({newest[1]} is needed)")


def c_compiler() -> Check:
    """The C compiler and linker that cargo calls."""
    name = "c compiler"
    if sys.platform == "win32":
        return Check(name, "ok", "not looked for: cargo finds Visual Studio's own")
    path = tools.cc()
    if path is None:
        names = os.environ.get("CC") or " or ".join(tools.CC_NAMES)
        return Check(name, "missing", f"{names} not found: cargo cannot link", tools.get_compiler())
    said = process.output([path, "--version"]) or ""
    return Check(name, "ok", said.splitlines()[0][:50] if said else path)


def cuda() -> Check:
    """The CUDA toolkit for Rust runners with kernels of their own, and the device to compile for."""
    name = "cuda toolkit"
    found = cuda_toolkit.find()
    if found is not None:
        capability, why = cuda_toolkit.capability(None)
        return Check(name, "ok", f"{found.release}, {found.why}; compiles for {capability} ({why})")
    if obstacle := cuda_toolkit.obstacle():
        return Check(name, "warning", f"{obstacle.reason}: runners on CUDA cannot be built", obstacle.hint)
    return Check(name, "ok", "none here: a build that needs one fetches it from the package registry (600 MB)")


def needed_tools(known: list[Framework]) -> list[Check]:
    """The programs that variants need, by their manifests."""
    users: dict[str, list[str]] = {}
    for framework in known:
        for variant in framework.variants:
            for tool in variant.tools:
                users.setdefault(tool, []).append(f"{framework.name}:{variant.name}")
    return [_needed(tool, ", ".join(labels)) for tool, labels in users.items()]


def _needed(tool: str, users: str) -> Check:
    path = tools.needed(tool)
    if path is None:
        return Check(tool, "warning", f"not found: {users} cannot run", tools.get(tool))
    said = (process.output([path, "--version"]) or path).splitlines()
    return Check(tool, "ok", f"{said[0][:50]}, for {users}")


def watchers() -> list[Check]:
    """The programs that `audit` and `bundle` take where they are; they do without, and say so."""
    if sys.platform != "linux":
        return []
    return [
        _optional("strace", "strace", "audit and bundle see what Python opens, and not what native code does"),
        _optional("bubblewrap", "bwrap", "bundle --verify takes unshare or chroot in its place"),
    ]


def _optional(package: str, program: str, without: str) -> Check:
    path = shutil.which(program)
    if path is None:
        return Check(package, "warning", f"not found: {without}", tools.get(package))
    said = (process.output([path, "--version"]) or path).splitlines()
    return Check(package, "ok", said[0][:50])


def vulkan_device() -> Check:
    """The Vulkan loader and a driver."""
    if vulkan.loader() is None:
        return Check("vulkan", "missing", "no loader: runners on Vulkan cannot run", vulkan.GET_LAVAPIPE)
    found = vulkan.drivers()
    if sys.platform == "win32":
        return Check("vulkan", "ok", "loader found; drivers are in the registry, not looked for")
    if not found and sys.platform != "darwin":
        return Check("vulkan", "missing", "loader found, no driver for a device", vulkan.GET_LAVAPIPE)
    return Check("vulkan", "ok", f"loader {vulkan.loader()}, drivers: {', '.join(found) or 'MoltenVK'}")


def disk() -> Check:
    """Room for environments and builds."""
    folder = places.artifacts()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        get = "free some, or set ARENA_ARTIFACTS and ARENA_CACHE to folders on a larger disk"
        return Check("disk", "warning", f"{size(free)} free, everything takes about {size(ROOM_BYTES)}", get)
    return Check("disk", "ok", f"{size(free)} free")


def memory() -> Check:
    """Memory for compilers and references."""
    import psutil  # noqa: PLC0415 (only here)

    total = int(psutil.virtual_memory().total)
    if total < MEMORY_BYTES:
        get = "set CARGO_BUILD_JOBS=1 and use the quick suite"
        return Check("memory", "warning", f"{size(total)}, builds and references may need {size(MEMORY_BYTES)}", get)
    return Check("memory", "ok", size(total))


def cpu() -> Check:
    """Processors that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cpu", "ok", f"{usable} logical processors")


def buildable(framework: Framework, variant: Variant | None = None) -> NotBuilt | None:
    """What stands in the way of building a framework, or a variant, here; none when nothing is known to."""
    if framework.language == "python":
        return _environment(framework, variant)
    toolkit = variant.toolkit if variant else None
    return _executable(framework) or (cuda_toolkit.obstacle() if toolkit == "cuda" else None)


def _environment(framework: Framework, variant: Variant | None) -> NotBuilt | None:
    if tools.uv() is None:
        return NotBuilt("uv is not installed", hint=tools.GET_UV)
    try:
        lockfile.version(framework, variant)
    except ArenaError as error:
        return NotBuilt(error.message, hint=error.hint)
    return compiled.obstacle(framework, variant)


def _executable(framework: Framework) -> NotBuilt | None:
    if tools.cargo() is None:
        return NotBuilt("cargo is not installed", hint=tools.GET_CARGO)
    if (compiler := c_compiler()).status == "missing":
        return NotBuilt(compiler.found, hint=compiler.get)
    folder = sources.folder_of(framework.crate or "")
    try:
        return crate.obstacle_of(framework, tools.rustc_version(folder))
    except OSError as error:
        return NotBuilt(f"cannot be read: {error}", hint=f"restore {folder}, for example from the checkout's history")


def device(variant: Variant) -> NotBuilt | None:
    """What device a variant's backend lacks here; none when nothing is known to be missing."""
    if missing := libraries.find(variant.libraries).missing:
        return libraries.lacking(missing)
    if variant.backend != "vulkan" or (found := vulkan_device()).status != "missing":
        return None
    return NotBuilt(found.found, hint=found.get)
