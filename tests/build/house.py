"""A small house of manifests and crates, with a cargo, a rustc and a uv that only pretend."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from arena_py import places
from arena_py.cli.app import main
from arena_py.manifest import framework, model, suite

CARGO = """\
#!/bin/sh
echo "cargo $*" >> "$FAKES/calls"
case "$1" in
-V) echo "cargo 1.95.0 (fake)"; exit 0 ;;
tree) printf 'arena-rusty v0.1.0\\nserde v1.0.0\\nserde v1.0.0 (*)\\n'; exit 0 ;;
esac
crate=$(basename "$PWD")
while [ $# -gt 0 ]; do [ "$1" = --target-dir ] && target=$2; [ "$1" = --bin ] && bin=$2; shift; done
if [ -e "$FAKES/slow-cargo" ]; then sleep 300 & echo $! > "$FAKES/sleeper"; wait; fi
if [ -e "$FAKES/fail-$crate" ]; then echo "   Compiling $crate" >&2; cat "$FAKES/fail-$crate" >&2; exit 101; fi
if [ -e "$FAKES/edit" ]; then echo "// edited" >> src/main.rs; fi
mkdir -p "$target/release"
if [ -e "$FAKES/runner" ]; then cp "$FAKES/runner" "$target/release/$bin"; else
cat src/main.rs > "$target/release/$bin"; fi
echo '{"reason":"compiler-artifact","package_id":"serde@1","target":{"name":"serde","kind":["lib"]}}'
printf '{"reason":"compiler-artifact","package_id":"it","target":{"name":"%s","kind":["bin"]},' "$bin"
printf '"executable":"%s"}\\n' "$target/release/$bin"
"""
RUSTC = """\
#!/bin/sh
cat "$FAKES/rustc-version"
"""
UV = """\
#!/bin/sh
echo "uv $*" >> "$FAKES/calls"
echo "${UV_OFFLINE:-online} $*" >> "$FAKES/networks"
if [ -n "$UV_TORCH_BACKEND" ]; then echo "UV_TORCH_BACKEND reached uv" >&2; exit 1; fi
case "$1 $2" in
"--version ") echo "uv 0.9.0 (fake)" ;;
"venv "*)
  for folder in "$@"; do :; done
  mkdir -p "$folder/bin" "$folder/lib"
  printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$PYTHON" > "$folder/bin/python"
  chmod +x "$folder/bin/python" ;;
"pip sync")
  if [ -e "$FAKES/slow-uv" ]; then sleep 300 & echo $! > "$FAKES/sleeper"; wait; fi
  if [ -n "$UV_OFFLINE" ] && [ -e "$FAKES/empty-cache" ]; then cat "$FAKES/empty-cache" >&2; exit 1; fi
  if [ -e "$FAKES/fail-uv" ]; then cat "$FAKES/fail-uv" >&2; exit 1; fi
  for packages in "$@"; do :; done
  cp "$packages" "$FAKES/packages"
  while [ $# -gt 0 ]; do [ "$1" = --python ] && python=$2; shift; done
  printf 0123456789 > "$(dirname "$python")/../lib/snake.py" ;;
"pip compile")
  requirements=$(cat)
  if [ -e "$FAKES/resolved" ]; then requirements=$(cat "$FAKES/resolved"); fi
  while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
  { echo "$requirements"; [ -e "$FAKES/lock-extra" ] && cat "$FAKES/lock-extra"; :; } > "$out" ;;
esac
"""


@dataclass(frozen=True)
class House:
    """Where everything is."""

    root: Path
    fakes: Path
    artifacts: Path

    def calls(self, what: str) -> list[str]:
        """How a fake was called, only the calls that begin with `what`."""
        log = self.fakes / "calls"
        return [line for line in log.read_text().splitlines() if line.startswith(what)] if log.exists() else []

    def fake(self, name: str, text: str = "") -> Path:
        """Tell the fakes something."""
        path = self.fakes / name
        path.write_text(text)
        return path

    def runner(self, description: dict[str, object]) -> None:
        """Let the fake cargo build a runner that describes itself so."""
        self.fake("runner", f"#!/bin/sh\ncat <<'E'\n{json.dumps(description)}\nE\n")

    def crate(self, name: str, *, version: str = "1.2.3") -> None:
        """A framework called `name` and its crate."""
        folder = self.root / "rust_bins" / name
        write(
            folder / "Cargo.toml",
            f"""
            [package]
            name = "arena-{name}"
            rust-version = "1.85"
            [dependencies]
            arena-runner = {{ path = "../runner" }}
            """,
        )
        write(folder / "Cargo.lock", f'[[package]]\nname = "{name}"\nversion = "{version}"\n')
        write(folder / "src" / "main.rs", f"// {name}\n")
        write(
            self.root / "manifests" / "frameworks" / f"{name}.toml",
            f"""
            name = "{name}"
            title = "{name.title()}"
            language = "rust"
            version = "{version}"
            crate = "{name}"
            [[variants]]
            name = "cpu"
            backend = "cpu"
            [[variants]]
            name = "fast"
            backend = "cpu"
            default = false
            features = ["z", "a"]
            [[variants]]
            name = "elsewhere"
            backend = "cpu"
            default = false
            platforms = ["nowhere"]
            """,
        )

    def python_framework(self, name: str = "snake", variants: str = "") -> None:
        """A Python framework called `name` with its lock, and more variants as TOML."""
        write(
            self.root / "manifests" / "frameworks" / f"{name}.toml",
            f"""
            name = "{name}"
            title = "Snake"
            language = "python"
            version = "4.5.6"
            requirements = ["Snake_Lib==4.5.6", "numpy==2.0.0"]
            [[variants]]
            name = "eager"
            backend = "cpu"
            """,
        )
        with (self.root / "manifests" / "frameworks" / f"{name}.toml").open("a") as file:
            file.write(textwrap.dedent(variants))
        write(self.root / "manifests" / "frameworks" / f"{name}.lock", "snake-lib==4.5.6\nnumpy==2.0.0 ; x == 'y'\n")

    def command(self, *words: str) -> list[str]:
        """The argv of Arena's command line in this house, as a process of its own."""
        code = (
            "import sys; from pathlib import Path; from arena_py import places\n"
            f"places.home = lambda: Path({str(self.root)!r})\n"
            "import uv; del uv.find_uv_bin\n"
            "from arena_py.cli.app import main; sys.exit(main(sys.argv[1:]))"
        )
        return [sys.executable, "-c", code, *words]

    def arena(self, *words: str) -> Answer:
        """Run Arena's command line in this house."""
        forget()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words])
        return Answer(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def forget() -> None:
    """Read the manifests again."""
    for cached in (framework, model, suite):
        cached.cache_clear()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def build_house(folder: Path) -> House:
    """An empty house with its fakes."""
    house = House(folder / "house", folder / "fakes", folder / "artifacts")
    house.fakes.mkdir()
    for name, text in (("cargo", CARGO), ("rustc", RUSTC), ("uv", UV)):
        tool = house.fakes / "bin" / name
        write(tool, text).chmod(0o755)
    house.fake("rustc-version", "rustc 1.95.0 (fake 2026-01-01)\n")
    for kind in ("models", "frameworks", "suites"):
        (house.root / "manifests" / kind).mkdir(parents=True)
    write(house.root / "rust_bins" / "Cargo.toml", '[workspace]\nmembers = ["runner"]\n')
    write(house.root / "rust_bins" / "runner" / "Cargo.toml", '[package]\nname = "arena-runner"\n')
    write(house.root / "rust_bins" / "runner" / "src" / "lib.rs", "// shared\n")
    return house


def environment(house: House) -> dict[str, str]:
    """The variables that make the fakes work."""
    return {
        "PATH": f"{house.fakes / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "FAKES": str(house.fakes),
        "PYTHON": sys.executable,
        "ARENA_ARTIFACTS": str(house.artifacts),
        "CARGO_HOME": str(house.fakes / "no-cargo-home"),
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


@pytest.fixture(name="house")
def house_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house in a folder of its own, which Arena takes for the checkout, and tools that only pretend."""
    made = build_house(tmp_path)
    for name in (
        "ARENA_CACHE",
        "RUSTC",
        "CC",
        "CXX",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "UV_TORCH_BACKEND",
        "UV_OFFLINE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(places, "home", lambda: made.root)
    monkeypatch.delattr("uv.find_uv_bin")
    forget()
    yield made
    forget()
