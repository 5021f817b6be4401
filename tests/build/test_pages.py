"""The pages name every key there is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from arena_py.build import BuildRecord
from arena_py.manifest import Framework, GateLimits, Sampling, ShapeSpec, Suite, Variant
from arena_py.manifest.model import ModelFile

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kind", [Framework, Variant, ModelFile, ShapeSpec, Suite, GateLimits, Sampling])
def test_manifests_page_tells_every_key_and_which_must_be_there(kind: type[msgspec.Struct]) -> None:
    page = (DOCS / "manifests.md").read_text(encoding="utf-8")

    for field in msgspec.structs.fields(kind):
        assert f"| `{field.encode_name}`{' *' if field.required else ''} |" in page


def test_building_page_tells_every_key_of_a_record() -> None:
    page = (DOCS / "building.md").read_text(encoding="utf-8")

    for field in msgspec.structs.fields(BuildRecord):
        assert f"`{field.encode_name}`" in page
