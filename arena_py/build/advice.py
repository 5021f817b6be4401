"""What to do about a failed build, from the words of the tool that failed."""

from __future__ import annotations

import re

ADVICE = (
    (r"no space left on device", "free some disk, or set ARENA_ARTIFACTS and ARENA_CACHE to folders on a larger one"),
    (
        r"linker `?\w+`? not found|cannot find crti\.o|failed to find tool \"?c(c|\+\+)",
        "install a C compiler and linker: apt-get install build-essential (macOS: xcode-select --install)",
    ),
    (r"lock file .* needs to be updated", "Cargo.lock does not fit Cargo.toml: run cargo update in the crate's folder"),
    (
        r"error sending request|failed to fetch|dns error|could not resolve host|failed to download|spurious network",
        "the package index cannot be reached: check the network, or configure a mirror for cargo or uv",
    ),
    (r"requires rustc [\d.]+|is not supported by the following package", "rustup update stable"),
    (r"no interpreter found", "install a newer Python, or let uv fetch one: uv python install"),
    (r"signal: 9|sigkill", "the compiler was killed, most likely for want of memory: set CARGO_BUILD_JOBS=1"),
)
"""A pattern in the log, and what it asks for; the first that fits."""


def for_log(words: tuple[str, ...]) -> str | None:
    """What to do, when the last lines of the log tell."""
    text = "\n".join(words)
    return next((hint for pattern, hint in ADVICE if re.search(pattern, text, re.IGNORECASE)), None)
