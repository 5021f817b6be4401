"""The manifests that come with Arena are right, and wrong ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_py import manifest
from arena_py.errors import ArenaError
from arena_py.manifest import toml
from arena_py.manifest.framework import Framework, parse
from arena_py.manifest.model import ModelFile

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


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_no_text_crashes_the_reader(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("m") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ArenaError):
        toml.read(path, ModelFile)
