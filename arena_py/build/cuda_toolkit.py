"""The CUDA toolkit for Rust runners that compile kernels: the machine's own, else one from the package registry.

NVIDIA publishes the compiler and every library as wheels. Put together in `artifacts/toolkit/cuda` they are a toolkit
but for three things, which are made here: the folder `lib64`, the names of libraries without a version that a linker
looks for, and `libcuda.so` to link with. The driver's library comes with a driver, which a machine that builds may not
have: like NVIDIA's own `lib64/stubs/libcuda.so`, the one made here has the names of `cuda.h` and does nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from arena_py import places
from arena_py.build import process, tools
from arena_py.build.outcome import NotBuilt
from arena_py.build.progress import Progress

HOME_VARIABLES = ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR")
USUAL_HOMES = ("/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda")
CAPABILITY_VARIABLE = "CUDA_COMPUTE_CAP"
DONE = "arena-toolkit"
"""A file that is written last: a folder without it was never finished."""
SYMBOL = re.compile(r"\b(cu[A-Z]\w*)\b")
"""What `cuda.h` calls functions; its types begin with `CU`."""
ARCHITECTURE_SPECIFIC = 90
"""From this compute capability on, kernels are compiled for that one device architecture (`90a`)."""


@dataclass(frozen=True)
class CudaToolkit:
    """A toolkit that is there."""

    home: Path
    release: str
    """As its compiler says: `13.0`."""
    why: str
    """Where it is from, for records and messages."""

    def environment(self, capability: str) -> dict[str, str]:
        """The variables of a build: `capability` as `CUDA_COMPUTE_CAP` has it, `90`."""
        path = os.pathsep.join([str(self.home / "bin"), os.environ.get("PATH", "")])
        homes = dict.fromkeys(HOME_VARIABLES, str(self.home))
        return {**homes, "NVCC": str(self.home / "bin" / "nvcc"), "PATH": path, CAPABILITY_VARIABLE: capability}


def own_home() -> Path:
    """Where a toolkit from the registry is put, as one folder with `bin`, `include` and `lib64`."""
    return places.artifacts() / "toolkit" / "cuda"


def lock() -> Path:
    """The pins and hashes of the toolkit from the registry."""
    return places.manifests() / "toolkits" / "cuda.lock"


def find() -> CudaToolkit | None:
    """The toolkit that is there: by the usual variables, on `PATH`, in the usual folders, or made earlier."""
    named = [(Path(os.environ[name]), f"${name}") for name in HOME_VARIABLES if os.environ.get(name)]
    on_path = shutil.which("nvcc")
    if on_path:
        named.append((Path(on_path).resolve().parent.parent, "nvcc on PATH"))
    named += [(Path(home), home) for home in USUAL_HOMES]
    if (own_home() / DONE).is_file():
        named.append((Path((own_home() / DONE).read_text(encoding="utf-8").strip()), "from the package registry"))
    for home, why in named:
        if release := _release(home):
            return CudaToolkit(home, release, why)
    return None


def obstacle() -> NotBuilt | None:
    """What stands in the way of having a toolkit here; none when there is one or one can be made."""
    if find() is not None:
        return None
    if sys.platform != "linux":
        return NotBuilt("no CUDA toolkit is found", hint="install NVIDIA's, and set CUDA_HOME to its folder")
    if tools.uv() is None:
        return NotBuilt("no CUDA toolkit is found, and without uv none can be fetched", hint=tools.GET_UV)
    if tools.cc() is None:
        return NotBuilt(
            "no CUDA toolkit is found, and without a C compiler none can be made", hint=tools.get_compiler()
        )
    return None


def ensure(progress: Progress, log: Path) -> CudaToolkit | NotBuilt:
    """The machine's toolkit, else one from the package registry, fetched once (1.2 GB on disk).

    Raises:
        OSError: the artifacts folder cannot be written.
    """
    if found := find():
        return found
    if known := obstacle():
        return known
    made = _make(progress, log)
    if isinstance(made, NotBuilt):
        return made
    return find() or NotBuilt("the CUDA toolkit that was fetched does not start", log=log, log_tail=process.tail(log))


def capability(declared: str | None) -> tuple[str, str]:
    """The compute capability to compile for, as `90`, and where it is from.

    `CUDA_COMPUTE_CAP` first, then the devices that `nvidia-smi` tells of, the oldest of them, then what the manifest
    declares.
    """
    if chosen := os.environ.get(CAPABILITY_VARIABLE):
        return chosen.replace(".", ""), f"${CAPABILITY_VARIABLE}"
    if found := devices():
        return min(found, key=int), "the device here, as nvidia-smi says"
    return declared or "80", "the manifest: no device here"


def devices() -> list[str]:
    """The compute capability of every device that `nvidia-smi` tells of, as `90`; empty where there is none."""
    said = process.output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], timeout_s=20.0) or ""
    return [line.strip().replace(".", "") for line in said.splitlines() if re.fullmatch(r"\s*\d+\.\d+\s*", line)]


def runs_on(compiled: str, device: str) -> bool:
    """Whether kernels compiled for one compute capability run on a device of another."""
    numbers = tools.version_numbers(f"{compiled}.0")[0], tools.version_numbers(f"{device}.0")[0]
    return numbers[0] == numbers[1] if numbers[0] >= ARCHITECTURE_SPECIFIC else numbers[0] <= numbers[1]


def _make(progress: Progress, log: Path) -> NotBuilt | None:
    """Fetch the wheels into one folder and put together what a compiler and a linker look for."""
    folder = own_home()
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".cuda.") as scratch:
        fresh = Path(scratch) / "cuda"
        what = "fetching the CUDA toolkit (600 MB) from the package registry"
        progress.step(what)
        uv = tools.uv()
        assert uv is not None
        command = [
            uv,
            "pip",
            "install",
            "--target",
            str(fresh),
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
        ]
        if process.run([*command, "-r", str(lock())], cwd=folder.parent, log=log, on_tick=progress.tick) != 0:
            words = process.tail(log)
            return NotBuilt("uv failed while fetching the CUDA toolkit", log=log, log_tail=words)
        homes = sorted(path.parent.parent for path in fresh.glob("nvidia/*/bin/nvcc"))
        if not homes:
            return NotBuilt("the CUDA toolkit from the package registry has no compiler", hint=f"see {lock()}")
        if problem := _complete(homes[0], log):
            return problem
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    home = folder / homes[0].relative_to(fresh)
    (folder / DONE).write_text(f"{home}\n", encoding="utf-8")
    return None


def _complete(home: Path, log: Path) -> NotBuilt | None:
    """Add `lib64`, names without a version, and the driver's library to link with."""
    libraries = home / "lib"
    (home / "lib64").symlink_to("lib")
    for library in sorted(libraries.glob("lib*.so.*")):
        plain = libraries / f"{library.name.partition('.so.')[0]}.so"
        if not plain.exists():
            plain.symlink_to(library.name)
    stubs = libraries / "stubs"
    stubs.mkdir()
    names = sorted(set(SYMBOL.findall((home / "include" / "cuda.h").read_text(encoding="utf-8", errors="replace"))))
    source = stubs / "libcuda.c"
    source.write_text("".join(f"int {name}(void) {{ return 999; }}\n" for name in names), encoding="utf-8")
    compiler = tools.cc()
    assert compiler is not None
    command = [compiler, "-shared", "-fPIC", "-w", "-fno-builtin", "-Wl,-soname,libcuda.so.1"]
    code = process.run([*command, "-o", str(stubs / "libcuda.so"), str(source)], cwd=stubs, log=log)
    if code != 0:
        return NotBuilt("the library to link CUDA programs with cannot be made", log=log, log_tail=process.tail(log))
    return None


def _release(home: Path) -> str | None:
    """The release of the toolkit in a folder; none when its compiler does not start."""
    nvcc = home / "bin" / ("nvcc.exe" if sys.platform == "win32" else "nvcc")
    said = process.output([str(nvcc), "--version"]) if nvcc.is_file() else None
    found = re.search(r"release (\d+\.\d+)", said or "")
    return found.group(1) if found else None
