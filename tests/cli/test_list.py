"""`list` as its user sees it."""

from __future__ import annotations

import json

from house import House, write

MODEL = """
    architecture = "llama"
    title = "Small"
    parameters = 1234
    [config]
    hidden_size = 4
    [[shapes]]
    name = "b1s2"
    tasks = ["infer", "latency"]
    sizes = { batch = 1, seq = 2 }
"""
SUITE = """
    title = "a look"
    models = ["small"]
    tasks = ["infer"]
    [gate.f32]
    k = 8.0
    floor = 1e-6
"""


def furnish(house: House) -> None:
    house.crate("rusty")
    write(house.root / "manifests" / "models" / "small.toml", MODEL)
    write(house.root / "manifests" / "suites" / "quick.toml", SUITE)


def test_tables_fit_80_columns(house: House) -> None:
    furnish(house)

    done = house.arena("list")

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for text in ("rusty:fast (on request)", "not built yet", "exists on nowhere only", "1,234", "infer/b1s2", "a look"):
        assert text in " ".join(done.stdout.split())


def test_json_says_what_is_built(house: House) -> None:
    furnish(house)
    house.arena("build")

    done = house.arena("list", "--format", "json")

    listing = json.loads(done.stdout)
    (rusty,) = listing["frameworks"]
    assert rusty["version"] == "1.2.3"
    by_name = {variant["name"]: variant for variant in rusty["variants"]}
    executable = house.artifacts / "bin" / "arena-rusty"
    assert by_name["cpu"]["built"]
    assert by_name["cpu"]["shipped_bytes"] == executable.stat().st_size
    assert by_name["fast"]["reason"] == "not built yet"
    assert listing["models"][0]["cases"] == ["small/infer/b1s2", "small/latency/b1s2"]
    assert listing["suites"] == [{"name": "quick", "title": "a look", "models": ["small"], "tasks": ["infer"]}]


def test_an_unknown_format_is_a_usage_error(house: House) -> None:
    done = house.arena("list", "--format", "xml")

    assert done.returncode == 2
    assert done.stderr.startswith("error: invalid value")
    assert "hint: python -m arena_py list --help" in done.stderr
