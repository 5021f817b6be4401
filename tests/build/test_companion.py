"""A framework with a second environment that makes what its runner executes."""

from __future__ import annotations

import pytest
from house import House, forget
from test_crate import built, unbuilt

from arena_py.build import ensure, locate
from arena_py.manifest import framework


@pytest.fixture
def paired(house: House) -> House:
    house.python_framework()
    manifests = house.root / "manifests" / "frameworks"
    toml = manifests / "snake.toml"
    toml.write_text(toml.read_text().replace("[[variants]]", 'exporter = ["charmer==1.0"]\n[[variants]]', 1))
    (manifests / "snake-exporter.lock").write_text("charmer==1.0\n")
    forget()
    return house


def test_both_environments_are_built_and_the_first_alone_is_weighed(paired: House) -> None:
    outcome = built(ensure()["snake:eager"])
    assert outcome.command[0] == str(paired.artifacts / "env" / "snake" / "bin" / "python")
    assert (paired.artifacts / "env" / "snake-exporter" / "arena-build.json").is_file()
    assert outcome.record.lock_sha256 == built(ensure()["snake:eager"]).record.lock_sha256
    assert [call.rpartition("/")[2] for call in paired.calls("uv pip sync")] == ["snake.lock", "snake-exporter.lock"]


def test_without_the_second_the_first_is_not_used(paired: House) -> None:
    ensure()
    (paired.artifacts / "env" / "snake-exporter" / "arena-build.json").unlink()
    snake = framework("snake")
    missing = unbuilt(locate(snake, snake.variant("eager")))
    assert missing.reason == "the environment of its exporter: not built yet"
    assert missing.hint == "python -m arena_py build snake"
    built(ensure()["snake:eager"])


def test_locking_writes_both_locks(paired: House) -> None:
    lock = paired.root / "manifests" / "frameworks" / "snake-exporter.lock"
    lock.unlink()
    done = paired.arena("build", "--lock", "snake")
    assert done.returncode == 0, done.stderr
    assert lock.read_text() == "charmer==1.0\n"
