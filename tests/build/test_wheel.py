"""A wheel by the real maturin, installed by the real uv: the driver finds its executable. For machines with both."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from house import House, write
from test_crate import built
from test_prebuilt import located

from arena_py import places
from arena_py.build import prebuilt, tools
from arena_py.manifest import framework

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UV, REAL_CARGO, REAL_PATH = tools.uv(), tools.cargo(), os.environ.get("PATH", "")
"""Before a house puts its fakes in their place."""
RUNNERS = places.home() / "rust_bins"
MAIN = """
fn main() {
    println!("{}", r#"%s"#);
}
"""


@pytest.mark.parametrize("name", ["burn", "candle", "luminal", "meganeura"])
def test_every_runner_is_a_package_that_an_extra_of_arena_names(name: str) -> None:
    settings = tomllib.loads((RUNNERS / name / "pyproject.toml").read_text())
    crate = tomllib.loads((RUNNERS / name / "Cargo.toml").read_text())["package"]
    own = tomllib.loads((places.home() / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert settings["project"]["name"] == crate["name"]
    assert settings["tool"]["maturin"]["bindings"] == "bin"
    assert own[name] == [f"{crate['name']}=={crate['version']}"]


def test_a_wheel_puts_its_executable_where_the_driver_finds_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maturin = shutil.which("maturin", path=REAL_PATH) or pytest.skip("maturin is not installed")
    if UV is None or REAL_CARGO is None:
        pytest.skip("uv or cargo is not installed")
    house.crate("rusty")
    told = {
        "contract": 1,
        "runner": "rusty",
        "framework": {"name": "rusty", "version": framework("rusty").version},
        "backends": [{"id": "cpu", "device": "cpu", "precisions": ["f32"]}],
        "architectures": {},
        "own_kernels": [],
        "build": {"compiler": "rustc 1.95.0", "profile": "release", "features": []},
    }
    crate = tmp_path / "crate"
    settings = (RUNNERS / "luminal" / "pyproject.toml").read_text().replace("arena-luminal", "arena-rusty")
    write(crate / "pyproject.toml", settings)
    write(crate / "Cargo.toml", '[package]\nname = "arena-rusty"\nversion = "0.1.0"\nedition = "2021"\n')
    write(crate / "Cargo.lock", 'version = 3\n[[package]]\nname = "arena-rusty"\nversion = "0.1.0"\n')
    write(crate / "src" / "main.rs", MAIN % json.dumps(told))
    shutil.copytree(RUNNERS / "luminal" / ".cargo", crate / ".cargo")
    outside = {**os.environ, "PATH": f"{Path(REAL_CARGO).parent}{os.pathsep}{REAL_PATH}"}
    outside.pop("CARGO_HOME", None)
    for command in (
        [maturin, "build", "--release", "--out", str(tmp_path / "dist")],
        [UV, "venv", "--offline", "--python", sys.executable, str(tmp_path / "venv")],
    ):
        subprocess.run(command, cwd=crate, env=outside, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    command = [UV, "pip", "install", "--offline", "--no-deps", "--python", str(tmp_path / "venv"), str(wheel)]
    subprocess.run(command, env=outside, check=True, capture_output=True)
    folder = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    monkeypatch.setattr(prebuilt, "scripts", lambda: folder)

    found = built(located())

    assert found.record.place == "prebuilt"
    assert Path(found.command[0]).parent == folder
    if sys.platform == "linux":
        # A static executable needs no glibc at all: the oldest tag that pip knows.
        assert re.fullmatch(r"arena_rusty-0\.1\.0-py3-none-(manylinux\w+_)?\w+\.whl", wheel.name)
        assert "manylinux" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (inside,) = [name for name in archive.namelist() if "/scripts/" in name]
        assert archive.getinfo(inside).file_size == found.record.bytes
