"""What the wheel packs of the report: without its scripts, styles and templates there is no page."""

from pathlib import Path

import pytest

from arena_py.report.html import assets

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_every_script_style_and_template():
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel: pip install hatchling")
    builder = wheel.WheelBuilder(str(ROOT))
    packed = {Path(each.distribution_path) for each in builder.recurse_included_files()}
    folder = Path("arena_py/report/html")
    own = [path for place in (assets.STATIC, assets.TEMPLATES) for path in place.rglob("*") if path.is_file()]
    assert {folder / path.relative_to(assets.HERE) for path in own} <= packed
    assert {assets.STATIC / f"{name}.js" for name in assets.SCRIPTS} <= set(own)
