"""What a page is made of besides its numbers: scripts and styles, what a policy must know of them, data made safe."""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent
STATIC = HERE / "static"
TEMPLATES = HERE / "templates"
SCRIPTS = (
    "dom", "words", "state", "data", "filters", "ratios", "charts", "panel", "matrix", "table", "speed", "tradeoff",
    "scaling", "phases", "training", "footprint", "history", "page",
)  # fmt: skip
"""In the order in which they use each other; one scope holds them all."""
UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""What could end a script element, begin another or break a line of JavaScript; inside a JSON string the same text."""


@cache
def scripts() -> str:
    """The views, as one script."""
    parts = "\n".join((STATIC / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


@cache
def theme() -> str:
    """The script that must run before anything is painted, so that a chosen theme does not flash."""
    return (STATIC / "theme.js").read_text("utf-8")


@cache
def styles() -> str:
    """All styles."""
    return (STATIC / "page.css").read_text("utf-8")


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed, bundled in a package: nothing is fetched."""
    import vl_convert  # noqa: PLC0415 (30 MB that only a page needs)

    # Without a snippet it sets `window.vegaEmbed`; the stubs do not know that it may be absent.
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]


@cache
def packed_vega() -> str:
    """`vega()` as `packed` has it."""
    return packed(vega().encode())


def source_hash(script: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def packed(content: bytes) -> str:
    """Bytes as base64 of their gzip: a page unpacks them with `DecompressionStream`."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def embedded(value: Any) -> str:
    """A value as JSON that is safe inside a script element.

    Args:
        value: whatever msgspec encodes; numbers that are not finite become null.
    """
    return msgspec.json.encode(value).decode().translate(UNSAFE)
