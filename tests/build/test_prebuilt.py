"""Executables that pip installed: used where nothing was built, and refused by name when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from house import House
from test_crate import built, unbuilt

from arena_py.build import ensure, locate, prebuilt
from arena_py.manifest import framework


@pytest.fixture
def wheel(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs an executable that describes itself as it is told."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    monkeypatch.setattr(prebuilt, "scripts", lambda: folder)
    house.crate("rusty")

    def install(body: str | None = None, *, contract: int = 1, version: str = "1.2.3") -> Path:
        told = {
            "contract": contract,
            "runner": "rusty",
            "framework": {"name": "rusty", "version": version},
            "backends": [{"id": "cpu", "device": "cpu", "precisions": ["f32"]}],
            "architectures": {},
            "own_kernels": [],
            "build": {"compiler": "rustc 1.90.0", "profile": "release", "features": []},
        }
        executable = folder / "arena-rusty"
        executable.write_text(body or f"#!/bin/sh\ncat <<'END'\n{json.dumps(told)}\nEND\n")
        executable.chmod(0o755)
        return executable

    return install


def located():
    rusty = framework("rusty")
    return locate(rusty, rusty.variants[0])


def test_it_is_taken_where_nothing_was_built_and_says_so(wheel, house: House, capsys) -> None:
    executable = wheel(version=framework("rusty").version)
    found = built(located())
    assert found.command == [str(executable)]
    assert (found.record.place, found.record.compiler) == ("prebuilt", "rustc 1.90.0")
    assert found.record.bytes == executable.stat().st_size
    assert built(ensure(["rusty"])["rusty:cpu"]) == found
    assert not house.calls("cargo build")


def test_what_was_built_here_goes_first(wheel) -> None:
    made = built(ensure(["rusty"])["rusty:cpu"])
    wheel(version=framework("rusty").version)
    assert built(located()) == made


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"contract": 7}, "speaks contract 7, this arena speaks 1"),
        ({"version": "0.0.9"}, "holds rusty 0.0.9, the manifest asks for "),
        ({"body": "#!/bin/sh\necho no such thing >&2; exit 3\n"}, "describe: exit code 3: no such thing"),
        ({"body": "#!/bin/sh\necho '{}'\n"}, "describe: not a description"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(wheel, told, reason) -> None:
    executable = wheel(**({"version": framework("rusty").version} | told))
    refused = unbuilt(located())
    assert str(executable) in refused.reason
    assert reason in refused.reason
    assert refused.hint == "python -m pip install --upgrade arena-rusty"


def test_what_does_not_fit_is_built_instead(wheel, house: House) -> None:
    wheel(contract=7)
    assert built(ensure(["rusty"])["rusty:cpu"]).record.place == "own"


def test_doctor_says_where_it_is(wheel, house: House) -> None:
    executable = wheel(version=framework("rusty").version)
    said = house.arena("doctor").stdout
    assert "as pip installed it" in " ".join(said.split())
    assert executable.name in said
