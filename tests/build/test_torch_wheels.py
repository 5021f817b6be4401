"""Which wheels of torch an environment gets, which hashes they are held to, and what is said of it."""

from __future__ import annotations

import time

import pytest
from house import House
from test_crate import built, unbuilt

from arena_py.build import ensure, torch_wheels
from arena_py.build.torch_wheels import Choice, choose, merged, unreachable
from arena_py.errors import ArenaError

LOCK = """\
numpy==2.0.0 \\
    --hash=sha256:aa
nvidia-cuda==13.0 ; sys_platform == 'linux' \\
    --hash=sha256:bb
Snake_Lib==4.5.6 \\
    --hash=sha256:cc
torch==2.15.0 \\
    --hash=sha256:dd \\
    --hash=sha256:ee
"""
RESOLVED = """\
numpy==2.0.0 \\
    --hash=sha256:aa
snake-lib==4.5.6 \\
    --hash=sha256:cc
torch==2.15.0+cpu \\
    --hash=sha256:ff
"""


@pytest.fixture
def torch_house(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    variants = '[[variants]]\nname = "rocm"\nbackend = "rocm"\ndefault = false\ntorch_backend = "rocm7.2"\n'
    house.python_framework(variants=variants)
    (house.root / "manifests" / "frameworks" / "snake.lock").write_text(LOCK)
    house.fake("resolved", RESOLVED)
    monkeypatch.setattr(torch_wheels, "unreachable", lambda *_: None)
    monkeypatch.setattr(torch_wheels, "CUDA_DRIVER", house.root / "no-driver")
    monkeypatch.setattr("sys.platform", "linux")
    return house


def test_with_its_index_torch_has_no_cuda_and_the_others_keep_the_locks_hashes(torch_house: House) -> None:
    record = built(ensure()["snake:eager"]).record

    assert record.torch is not None
    assert (record.torch.index, record.torch.version) == ("cpu", "2.15.0+cpu")
    assert record.torch.why == "this machine has no CUDA driver"
    assert record.torch.hashes == ["sha256:ff"]
    assert (torch_house.fakes / "packages").read_text() == RESOLVED.replace("snake-lib", "Snake_Lib")
    (resolving,) = torch_house.calls("uv pip compile")
    (syncing,) = torch_house.calls("uv pip sync")
    assert "--torch-backend cpu" in resolving
    assert "--generate-hashes" in resolving
    assert "--torch-backend cpu" in syncing
    assert "--require-hashes" in syncing


def test_without_it_the_registrys_build_is_taken_and_the_reason_is_told(
    torch_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_wheels, "unreachable", lambda *_: "no such host")

    done = torch_house.arena("build")

    assert done.returncode == 0, done.stderr
    assert "snake: torch of the index registry: PyTorch's index cannot be reached: no such host" in done.stderr
    assert "2.15.0 (registry)" in done.stdout
    record = built(ensure()["snake:eager"]).record
    assert record.torch is not None
    assert (record.torch.index, record.torch.version, record.torch.hashes) == ("registry", "2.15.0", [])
    (syncing,) = torch_house.calls("uv pip sync")
    assert syncing.endswith("snake.lock")
    assert "--torch-backend" not in syncing
    assert torch_house.calls("uv pip compile") == []


def test_what_is_there_will_do_for_auto_and_is_made_anew_for_another_wish(torch_house: House) -> None:
    ensure()
    ensure()
    assert len(torch_house.calls("uv pip sync")) == 1

    record = built(ensure(torch_backend="registry")["snake:eager"]).record
    assert record.torch is not None
    assert (record.torch.index, record.torch.why) == ("registry", "it was asked for")
    assert len(torch_house.calls("uv pip sync")) == 2
    ensure()
    assert len(torch_house.calls("uv pip sync")) == 2


def test_uvs_own_variable_is_a_wish_and_is_kept_from_uv(torch_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it, uv would look for the lock's hashes in an index that does not have them."""
    monkeypatch.setenv("UV_TORCH_BACKEND", "registry")
    record = built(ensure()["snake:eager"]).record
    assert record.torch is not None
    assert record.torch.index == "registry"

    monkeypatch.setenv("UV_TORCH_BACKEND", "tpu")
    with pytest.raises(ArenaError, match="UV_TORCH_BACKEND tpu: no such backend"):
        ensure()


def test_an_unknown_wish_is_a_usage_error(torch_house: House) -> None:
    done = torch_house.arena("build", "--torch-backend", "rocky")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --torch-backend rocky: no such backend\nhint: auto, registry, cpu")


def test_a_variant_with_an_index_of_its_own_has_an_environment_of_its_own(torch_house: House) -> None:
    torch_house.fake("resolved", RESOLVED.replace("+cpu", "+rocm7.2"))
    outcome = built(ensure(["snake:rocm"], torch_backend="registry")["snake:rocm"])

    assert outcome.command[0] == str(torch_house.artifacts / "env" / "snake-rocm" / "bin" / "python")
    assert outcome.record.torch is not None
    assert (outcome.record.torch.index, outcome.record.torch.version) == ("rocm7.2", "2.15.0+rocm7.2")


def test_a_release_that_the_lock_does_not_hold_is_refused(torch_house: House) -> None:
    torch_house.fake("resolved", RESOLVED.replace("2.15.0+cpu", "2.15.1+cpu"))
    failure = unbuilt(ensure()["snake:eager"])
    assert failure.reason == "PyTorch's index needs torch 2.15.1+cpu, which the lock does not hold"
    assert not (torch_house.artifacts / "env" / "snake").exists()


def test_only_what_the_lock_holds_in_that_very_version_keeps_its_hash() -> None:
    assert "sha256:ff" in merged(LOCK, RESOLVED)
    assert "sha256:aa" in merged(LOCK, RESOLVED.replace("sha256:aa", "sha256:zz"))
    with pytest.raises(ArenaError, match="needs more 1, which the lock does not hold"):
        merged(LOCK, RESOLVED + "more==1 \\\n    --hash=sha256:00\n")


@pytest.mark.parametrize(
    ("platform", "driver", "trouble", "index"),
    [
        ("linux", False, None, "cpu"),
        ("linux", True, None, "registry"),
        ("linux", False, "no answer", "registry"),
        ("darwin", False, None, "registry"),
    ],
)
def test_auto(
    house: House, monkeypatch: pytest.MonkeyPatch, platform: str, driver: bool, trouble: str, index: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(torch_wheels, "CUDA_DRIVER", house.fake("driver") if driver else house.root / "none")
    monkeypatch.setattr(torch_wheels, "unreachable", lambda *_: trouble)
    assert choose("auto", None).index == index
    assert choose("cpu", None) == Choice("cpu", "it was asked for")


def test_asking_an_index_is_bounded() -> None:
    class Silent:
        def __init__(self) -> None:
            import socket

            self.socket = socket.create_server(("127.0.0.1", 0))

    silent = Silent()
    started = time.monotonic()
    trouble = unreachable(f"http://127.0.0.1:{silent.socket.getsockname()[1]}/", 0.3)
    assert trouble is not None
    assert time.monotonic() - started < 30
    silent.socket.close()
    assert "refused" in (unreachable("http://127.0.0.1:9/", 2.0) or "")
