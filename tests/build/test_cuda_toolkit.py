"""The CUDA toolkit: which is found, what it compiles for, and what is put together of wheels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from arena_py.build import cuda_toolkit, libraries
from arena_py.build.cuda_toolkit import CAPABILITY_VARIABLE, HOME_VARIABLES, capability, find, runs_on

NVCC = "#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No toolkit and no device of this machine's."""
    for name in (*HOME_VARIABLES, CAPABILITY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda_toolkit, "USUAL_HOMES", ())
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setattr(cuda_toolkit, "devices", list)
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvcc" else found(name))


def toolkit(folder: Path) -> Path:
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    return folder


def test_a_toolkit_is_found_by_its_variable_and_says_its_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find() is None
    home = toolkit(tmp_path / "cuda")
    monkeypatch.setenv("CUDA_HOME", str(home))

    found = find()

    assert found is not None
    assert (found.home, found.release, found.why) == (home, "13.0", "$CUDA_HOME")
    variables = found.environment("90")
    assert {variables[name] for name in HOME_VARIABLES} == {str(home)}
    assert variables[CAPABILITY_VARIABLE] == "90"
    assert variables["PATH"].startswith(f"{home}/bin:")


def test_a_folder_that_was_not_finished_is_no_toolkit(tmp_path: Path) -> None:
    toolkit(cuda_toolkit.own_home() / "nvidia" / "cu13")
    assert find() is None
    (cuda_toolkit.own_home() / cuda_toolkit.DONE).write_text(str(cuda_toolkit.own_home() / "nvidia" / "cu13"))
    assert find() is not None


def test_it_compiles_for_the_variable_then_the_oldest_device_then_the_manifest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert capability("90")[0] == "90"
    monkeypatch.setattr(cuda_toolkit, "devices", lambda: ["120", "86"])
    assert capability("90")[0] == "86"
    monkeypatch.setenv(CAPABILITY_VARIABLE, "8.0")
    assert capability("90")[0] == "80"


@pytest.mark.parametrize(
    ("compiled", "device", "runs"),
    [("80", "86", True), ("86", "80", False), ("90", "90", True), ("90", "100", False), ("80", "90", True)],
)
def test_kernels_run_on_newer_devices_unless_they_are_for_one_architecture(
    compiled: str, device: str, *, runs: bool
) -> None:
    assert runs_on(compiled, device) is runs


def test_wheels_become_a_toolkit_that_a_linker_understands(tmp_path: Path) -> None:
    home = tmp_path / "cu13"
    (home / "lib").mkdir(parents=True)
    (home / "include").mkdir()
    (home / "lib" / "libcublas.so.13").write_bytes(b"")
    (home / "include" / "cuda.h").write_text(
        "CUresult CUDAAPI cuInit(unsigned int);\n#define cuMemAlloc cuMemAlloc_v2\n"
    )

    assert cuda_toolkit._complete(home, tmp_path / "log") is None

    assert (home / "lib64" / "libcublas.so").resolve() == home / "lib" / "libcublas.so.13"
    program = tmp_path / "program.c"
    declared = "int cuInit(unsigned); int cuMemAlloc_v2(void);"
    program.write_text(f"{declared} int main(void) {{ return cuInit(0) + cuMemAlloc_v2(); }}")
    linked = ["cc", "-o", str(tmp_path / "program"), str(program), f"-L{home / 'lib64' / 'stubs'}", "-lcuda"]
    subprocess.run(linked, check=True)
    needs = subprocess.run(["ldd", str(tmp_path / "program")], capture_output=True, text=True, check=False).stdout
    assert "libcuda.so.1 => " in needs


def test_libraries_are_found_in_python_packages_and_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "site-packages" / "nvidia" / "cu13" / "lib"
    place.mkdir(parents=True)
    (place / "libarenatest.so.13").write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.setenv(libraries.VARIABLE, "/of/the/user")

    found = libraries.find(["libarenatest.so.13", "libarenanever.so.1"])

    assert found.missing == ("libarenanever.so.1",)
    assert found.variables() == {libraries.VARIABLE: f"{place}:/of/the/user"}
    assert "libarenanever.so.1" in libraries.lacking(found.missing).reason
    assert libraries.find([]).variables() == {}
