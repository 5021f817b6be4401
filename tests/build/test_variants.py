"""Variants of a Python framework with an environment of their own, and the programs that variants need."""

from __future__ import annotations

import pytest
from house import House, forget
from test_crate import built, unbuilt

from arena_py.build import ensure, locate
from arena_py.build.lockfile import path_of, version
from arena_py.errors import ArenaError
from arena_py.manifest import framework

OWN = """
[[variants]]
name = "cuda"
backend = "cuda"
default = false
requirements = ["snake-gpu==4.5.6", "numpy==1.9.9"]
"""


@pytest.fixture
def own(house: House) -> House:
    house.python_framework(variants=OWN)
    (house.root / "manifests" / "frameworks" / "snake-cuda.lock").write_text("snake-gpu==4.5.6\nnumpy==1.9.9\n")
    return house


def test_a_variant_with_requirements_has_an_environment_beside_the_frameworks(own: House) -> None:
    outcomes = ensure(["snake", "snake:cuda"])

    plain, cuda = (built(outcomes[f"snake:{name}"]) for name in ("eager", "cuda"))
    assert plain.command[0] == str(own.artifacts / "env" / "snake" / "bin" / "python")
    assert cuda.command[0] == str(own.artifacts / "env" / "snake-cuda" / "bin" / "python")
    assert plain.command[1:] == cuda.command[1:]
    assert plain.record.lock_sha256 != cuda.record.lock_sha256
    assert [call.rpartition("/")[2] for call in own.calls("uv pip sync")] == ["snake.lock", "snake-cuda.lock"]
    assert (own.artifacts / "logs" / "build-snake-cuda.log").is_file()


def test_only_the_variant_whose_lock_changed_is_built_again(own: House) -> None:
    ensure(["snake", "snake:cuda"])
    with (own.root / "manifests" / "frameworks" / "snake-cuda.lock").open("a") as file:
        file.write("more==1.0\n")

    snake = framework("snake")
    built(locate(snake, snake.variant("eager")))
    stale = unbuilt(locate(snake, snake.variant("cuda")))
    assert stale.reason == "its lock changed since it was built"
    assert stale.hint == "python -m arena_py build snake:cuda"


def test_the_lock_of_a_variant_is_held_against_its_own_pins(own: House) -> None:
    snake = framework("snake")
    cuda = snake.variant("cuda")
    assert version(snake, cuda) == "4.5.6"
    path_of(snake, cuda).write_text("snake-lib==4.5.6\nnumpy==2.0.0\n")

    with pytest.raises(ArenaError, match=r"snake-cuda\.lock: does not hold snake-gpu==4.5.6") as caught:
        version(snake, cuda)
    assert caught.value.hint == "python -m arena_py build --lock snake:cuda"


def test_locking_a_variant_writes_its_own_lock(own: House) -> None:
    path = path_of(framework("snake"), framework("snake").variant("cuda"))
    path.unlink()

    done = own.arena("build", "--lock", "snake:cuda")

    assert done.returncode == 0, done.stderr
    assert f"snake-cuda: wrote {path}" in done.stderr
    assert path.read_text() == "snake-gpu==4.5.6\nnumpy==1.9.9\n"
    assert len(own.calls("uv pip compile")) == 1


@pytest.mark.parametrize("key", ['requirements = ["x==1"]', 'torch_backend = "cpu"'])
def test_a_key_of_the_other_language_is_refused(house: House, key: str) -> None:
    house.crate("rusty")
    path = house.root / "manifests" / "frameworks" / "rusty.toml"
    path.write_text(path.read_text() + key + "\n")
    forget()

    with pytest.raises(ArenaError, match=f"variant elsewhere: `{key.split()[0]}` is not for a rust framework"):
        framework("rusty")


def test_a_variant_without_its_tool_is_declared_absent_by_name(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.python_framework(variants='[[variants]]\nname = "compile"\nbackend = "cpu"\ntools = ["brainwash"]\n')

    missing = unbuilt(ensure()["snake:compile"])
    assert missing.reason == "needs brainwash, and there is none"
    assert missing.declared
    assert "brainwash" in (missing.hint or "")

    tool = house.fakes / "bin" / "brainwash"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    built(ensure()["snake:compile"])


def test_any_cxx_compiler_does_and_cxx_decides(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.python_framework(variants='[[variants]]\nname = "compile"\nbackend = "cpu"\ntools = ["c++"]\n')
    monkeypatch.setenv("CXX", "no-such-compiler")

    assert unbuilt(ensure()["snake:compile"]).reason == "needs a C++ compiler, and there is none"

    compiler = house.fakes / "bin" / "no-such-compiler"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    built(ensure()["snake:compile"])


SHARING = """
[[variants]]
name = "gpu"
backend = "gpu"
default = false
features = ["gpu"]
rustflags = ["-C", "target-feature=-crt-static"]
libraries = ["libarenanever.so.1"]
[[variants]]
name = "gpu-fast"
backend = "gpu"
precision = "tf32"
default = false
shares = "gpu"
"""


@pytest.fixture
def sharing(house: House) -> House:
    house.crate("rusty")
    with (house.root / "manifests" / "frameworks" / "rusty.toml").open("a") as file:
        file.write(SHARING)
    return house


def test_variants_that_share_are_started_from_one_executable_built_once(sharing: House) -> None:
    outcomes = ensure(["rusty", "rusty:gpu", "rusty:gpu-fast"])

    plain, gpu, fast = (built(outcomes[f"rusty:{name}"]) for name in ("cpu", "gpu", "gpu-fast"))
    assert gpu.command == fast.command == [str(sharing.artifacts / "bin" / "arena-rusty-gpu")]
    assert plain.command != gpu.command
    assert len(sharing.calls("cargo build")) == 2
    assert gpu.record.rustflags == ["-C", "target-feature=-crt-static"]
    folders = {call.split("--target-dir ")[1].split()[0] for call in sharing.calls("cargo build")}
    assert len(folders) == 2


def test_other_compiler_flags_are_another_build(sharing: House) -> None:
    ensure(["rusty:gpu"])
    path = sharing.root / "manifests" / "frameworks" / "rusty.toml"
    path.write_text(path.read_text().replace("-crt-static", "+crt-static"))
    forget()

    stale = unbuilt(locate(framework("rusty"), framework("rusty").variant("gpu-fast")))

    assert stale.reason == "its compiler flags changed since it was built"


def test_a_profile_is_a_build_of_its_own(sharing: House) -> None:
    path = sharing.root / "manifests" / "frameworks" / "rusty.toml"
    small = '[[variants]]\nname = "small"\nbackend = "cpu"\ndefault = false\nprofile = "small"\n'
    path.write_text(path.read_text() + small)
    forget()

    made = built(ensure(["rusty:small"])["rusty:small"])

    assert made.command == [str(sharing.artifacts / "bin" / "arena-rusty-small")]
    assert made.record.profile == "small"
    assert "--profile small" in sharing.calls("cargo build")[-1]
    path.write_text(path.read_text().replace('profile = "small"', 'profile = "tiny"'))
    forget()
    stale = unbuilt(locate(framework("rusty"), framework("rusty").variant("small")))
    assert stale.reason == "its cargo profile changed since it was built"


def test_a_library_that_the_machine_lacks_is_named_and_the_build_is_none_the_worse(sharing: House) -> None:
    assert built(ensure(["rusty:gpu"])["rusty:gpu"]).missing == ("libarenanever.so.1",)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ('shares = "cpu"', "`cpu` has no build of its own to share"),
        ('shares = "gpu"\nfeatures = ["x"]', "exclude each other"),
        ('shares = "other"', "unknown variant of rusty: other"),
    ],
)
def test_what_cannot_be_shared_is_refused(sharing: House, words: str, told: str) -> None:
    path = sharing.root / "manifests" / "frameworks" / "rusty.toml"
    path.write_text(path.read_text() + f'\n[[variants]]\nname = "more"\nbackend = "gpu"\n{words}\n')
    forget()

    with pytest.raises(ArenaError, match=told):
        framework("rusty")
