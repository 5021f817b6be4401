"""The manifests that come with Arena are right, and wrong ones are refused by name."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from arena_py import manifest
from arena_py.errors import ArenaError
from arena_py.manifest import toml
from arena_py.manifest.framework import Framework, parse
from arena_py.manifest.model import Model, ModelFile
from arena_py.manifest.suite import Suite

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODEL = Path(toml.find("models", "llama-tiny"))


def test_every_manifest_reads() -> None:
    assert {manifest.framework(name).name for name in manifest.frameworks()} >= {"pytorch", "candle", "burn"}
    for name in manifest.models():
        model = manifest.model(name)
        assert {case.task for case in model.cases} >= {"infer", "latency", "train"}
        assert len({case.name for case in model.cases}) == len(model.cases)
    for name in manifest.suites():
        suite = manifest.suite(name)
        assert "f32" in suite.gate
        assert set(suite.models) <= set(manifest.models())


def test_latency_is_inference_on_another_shape() -> None:
    (case,) = (case for case in manifest.model("smollm2-135m").cases if case.task == "latency")
    assert case.contract_task == "infer"
    assert case.shape.sizes == {"batch": 1, "seq": 1}
    assert case.name == "smollm2-135m/latency/b1s1"


def test_a_case_by_name() -> None:
    assert manifest.case("smollm2-135m/latency/b1s1").task == "latency"
    with pytest.raises(ArenaError, match="unknown case: llama-tiny/infer/b9") as wrong:
        manifest.case("llama-tiny/infer/b9")
    assert wrong.value.hint is not None
    assert "llama-tiny/latency/" in wrong.value.hint
    with pytest.raises(ArenaError, match="unknown model: gpt-9"):
        manifest.case("gpt-9/infer/b1")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('architecture = "llama"', 'architecture = "llama"\ncolour = "blue"', "unknown field `colour`"),
        ('architecture = "llama"', "", "missing required field `architecture`"),
        ("parameters = 21_696", 'parameters = "many"', "Expected `int`, got `str`"),
        ('tasks = ["latency"]', 'tasks = ["juggle"]', "Invalid enum value 'juggle'"),
        ("batch = 1", "batch = 0", ">= 1"),
        ("[config]", "[config", "not TOML"),
    ],
)
def test_a_wrong_manifest_is_refused_by_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = MODEL.read_text()
    assert old in text
    path = tmp_path / "model.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ArenaError, match=words):
        manifest.model(str(path))


@pytest.mark.parametrize("key", ["name", "crate", "variants.name", "variants.tools"])
@pytest.mark.parametrize("name", ["../x", "/x", "x/y", ".x", "-x", "", "x\\ny", "x\\n", "x y"])
def test_a_name_that_leaves_its_folder_is_refused(tmp_path: Path, key: str, name: str) -> None:
    keys = {"name": '"rusty"', "crate": '"rusty"', "variants.name": '"cpu"', "variants.tools": '["cc"]'}
    keys[key] = f'["{name}"]' if key == "variants.tools" else f'"{name}"'
    path = tmp_path / "rusty.toml"
    path.write_text(
        f'title = "Rusty"\nlanguage = "rust"\nversion = "1"\nname = {keys["name"]}\ncrate = {keys["crate"]}\n'
        f'[[variants]]\nbackend = "cpu"\nname = {keys["variants.name"]}\ntools = {keys["variants.tools"]}\n'
    )
    with pytest.raises(ArenaError, match=r"Expected `str` matching regex"):
        toml.read(path, Framework)


def test_an_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(ArenaError, match="unknown model: smollm2") as error:
        manifest.model("smollm2-135")
    assert error.value.hint is not None
    assert "did you mean smollm2-135m?" in error.value.hint
    with pytest.raises(ArenaError, match="unknown framework: touch"):
        manifest.framework("touch")
    with pytest.raises(ArenaError, match="unknown variant of burn: cuda13"):
        parse("burn:cuda13")


def test_a_manifest_path_that_is_not_there() -> None:
    with pytest.raises(ArenaError, match="no such manifest"):
        manifest.model("nowhere.toml")


@examples(200)
@given(st.text(max_size=80))
def test_no_text_crashes_the_reader(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("m") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ArenaError):
        toml.read(path, ModelFile)


@pytest.mark.parametrize("deep", ["[" * 5000, "{a=" * 5000])
def test_what_is_nested_too_deeply_is_refused(tmp_path: Path, deep: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"x = {deep}")
    with pytest.raises(ArenaError, match="not TOML"):
        toml.read(path, ModelFile)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k = 8.0", "k = nan"),
        ("k = 8.0", "k = inf"),
        ("floor = 1e-6", "floor = -1.0"),
        ("half_width = 0.05", "half_width = 0.0"),
        ("budget_s = 0.3", "budget_s = -1.0"),
        ("[sampling]", "[timeout_s]\njump = 3.0\n\n[sampling]"),
        ("[sampling]", "[timeout_s]\nrun = nan\n\n[sampling]"),
        ("[sampling]", "[sampling]\nseed = -1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, old: str, new: str) -> None:
    text = Path(toml.find("suites", "quick")).read_text()
    assert old in text
    path = tmp_path / "suite.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ArenaError, match=r"Expected `(int|float|str)`"):
        toml.read(path, Suite)


def inline(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {inline(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return repr(value).lower() if isinstance(value, float | bool) else json.dumps(value)


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text("ab/.-", max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=4,
)
TABLES = [
    (kind, tomllib.loads((toml.places.manifests() / folder / f"{name}.toml").read_text()))
    for folder, kind in (("models", ModelFile), ("suites", Suite), ("frameworks", Framework))
    for name in toml.names(folder)
]


def mutated(table: Any, value: Any, choices: random.Random) -> Any:
    """A copy with one thing changed, taken away or added, somewhere."""
    copied = json.loads(json.dumps(table))
    place = copied
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = choices.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or choices.random() < 0.3:
            break
        place = place[key]
    match choices.randrange(3):
        case 0:
            place[key] = value
        case 1:
            del place[key]
        case _ if isinstance(place, dict):
            place["colour"] = value
        case _:
            place.append(value)
    return copied


@examples(400)
@given(st.sampled_from(TABLES), VALUES, st.randoms(use_true_random=False))
def test_a_manifest_with_one_thing_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, chosen: Any, value: Any, choices: random.Random
) -> None:
    kind, table = chosen
    path = tmp_path_factory.mktemp("m") / "any.toml"
    changed = mutated(table, value, choices)
    path.write_text("\n".join(f"{json.dumps(name)} = {inline(item)}" for name, item in changed.items()))
    try:
        found = toml.read(path, kind)
    except ArenaError as error:
        assert str(path) in error.message
        return
    # What is read can be stored, and its cases have names, options and units.
    msgspec.json.encode(found)
    for case in Model("any", found).cases if isinstance(found, ModelFile) else ():
        assert case.name.startswith("any/")
        assert case.units_per_execution >= 1
        assert case.options is not None
