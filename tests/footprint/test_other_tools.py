"""Every Rust runner and a whole audit, held against binutils, ldd, ldconfig, strace and the kernel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import compiled, run, tool

from arena_py.build import locate
from arena_py.cli.app import main
from arena_py.contract.session import runner_environment
from arena_py.footprint import crates, elf, libraries, trace
from arena_py.footprint.document import Audit, Entry
from arena_py.manifest import framework, frameworks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's format")
RUST = [name for name in frameworks() if framework(name).language == "rust"]


@pytest.fixture(params=RUST)
def executable(request: pytest.FixtureRequest) -> Path:
    """Of each Rust runner's default variant."""
    found = framework(request.param)
    return Path(locate(found, next(each for each in found.variants if each.default)).command[0])


def test_bytes_of_an_executable(executable):
    found = elf.read(executable)

    assert found.bytes == int(run(tool("stat"), "-L", "-c", "%s", executable)) == executable.stat().st_size
    # `size -A` lists what is loaded, and the comment sections that are not.
    told = dict(
        re.findall(r"^(\.\S+|\S+_fn|__libc\S+) +(\d+)", run(tool("size"), "-A", "-d", executable), re.MULTILINE)
    )
    assert {each.name: each.bytes for each in found.sections if each.loaded and each.bytes}.items() <= {
        name: int(size) for name, size in told.items()
    }.items()
    headers = run(tool("readelf"), "-SW", executable)
    code = re.findall(r"\] \S+ +PROGBITS +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) \S+ +AX", headers)
    assert found.code_bytes == sum(int(size, 16) for size in code)


def test_linkage_of_an_executable(executable):
    found = elf.read(executable)
    done = subprocess.run([tool("ldd"), executable], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    linked = dict(re.findall(r"(\S+) => (\S+) \(", told))
    dynamic = run(tool("readelf"), "-dW", executable)

    assert {each.name: Path(each.path).resolve() for each in libraries.closure(found)} == {
        name: Path(path).resolve() for name, path in linked.items()
    }
    assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    # What binutils call position-independent and that names no loader starts itself.
    pie = "PIE" in dynamic
    assert (found.linkage == "static-pie") == (pie and not found.needed and found.interpreter is None)
    assert bool(re.search(r"statically linked|not a dynamic", told)) == (found.linkage != "dynamic")


def test_the_oldest_glibc_of_an_executable(executable):
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", run(tool("readelf"), "-VW", executable))
    newest = max(((int(a), int(b)) for a, b in versions), default=None)

    assert elf.read(executable).oldest_glibc == (None if newest is None else f"{newest[0]}.{newest[1]}")


def test_a_static_executable_starts_in_an_empty_root(executable, tmp_path):
    if elf.read(executable).linkage == "dynamic":
        pytest.skip("it opens the system's drivers")
    from arena_py.footprint import isolation

    isolation.prepare(tmp_path)
    (tmp_path / "arena").mkdir()
    (tmp_path / "arena" / executable.name).write_bytes(executable.read_bytes())
    (tmp_path / "arena" / executable.name).chmod(0o755)
    said = run(*isolation.best().command(tmp_path, [f"/arena/{executable.name}", "describe"], {}))

    assert json.loads(said)["runner"]


def test_functions_are_those_of_nm(tmp_path):
    program = compiled(tmp_path, "named")
    told = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [TtWw] (\S+)$", run(tool("nm"), "-S", program), re.MULTILINE)
    # A name for each place: aliases are the same bytes.
    expected = {place: int(size, 16) for place, size, _ in told if int(size, 16)}

    assert sum(size for _, size in elf.read(program, symbols=True).symbols) == sum(expected.values())


@pytest.mark.parametrize("name", RUST)
def test_linked_crates_are_among_those_that_cargo_resolves(name):
    """`cargo metadata` unites what build scripts need with what is linked, so that it names more."""
    from arena_py.build import sources, tools

    cargo = tools.cargo() or pytest.skip("cargo is not installed")
    # Sources of crates for other systems are not there.
    host = re.search(r"^host: (\S+)", run(tools.rustc(), "-vV"), re.MULTILINE)[1]
    command = [cargo, "metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]
    done = subprocess.run(command, cwd=sources.folder_of(name), capture_output=True, text=True, check=True)
    known = {(each["name"], each["version"]): each["license"] for each in json.loads(done.stdout)["packages"]}
    found = crates.of(name, [])

    for each in found.linked:
        stated = known[each.name, each.version]
        assert (each.licence or "").replace(" OR ", "/") == (stated or "").replace(" OR ", "/").replace(" / ", "/")


PROGRAM = """
import os, sys, json, threading, decimal
folder = sys.argv[1]
with open(os.path.join(folder, "data")) as file: file.read()
print("ready", flush=True); sys.stdin.read()
"""


def test_files_that_python_opens_are_those_of_strace(tmp_path, monkeypatch):
    """Where they differ: of what is imported before the hook Python tells the source, of which strace sees that Python
    looks at it and opens the compiled form; and the kernel itself opens the dynamic loader, which only the maps show.
    """
    if trace.strace() is None:
        pytest.skip("strace is not installed, or may not trace here")
    (tmp_path / "data").write_text("x")
    seen = {}
    for how in ("strace", "hook"):
        if how == "hook":
            monkeypatch.setattr(trace, "strace", lambda: None)
        scratch = tmp_path / how
        scratch.mkdir()
        watch = trace.Watch(scratch, python=True)
        process = subprocess.Popen(
            watch.command([sys.executable, "-c", PROGRAM, str(tmp_path)]),
            env=runner_environment(1, watch.environment()), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        watch.look(process.pid)
        process.communicate(b"")
        found = watch.finish()
        seen[how] = [{path.resolve() for path in kind} for kind in (found.opened, found.looked_at, found.mapped)]
    own = {path for path in seen["hook"][0] if "sitecustomize" not in path.name}
    opened, looked_at, mapped = seen["strace"]

    assert tmp_path / "data" in own & opened
    assert own <= opened | looked_at | mapped
    assert {path.suffix for path in own - opened - mapped} <= {".py"}


@pytest.fixture(scope="module")
def peak(tmp_path_factory) -> tuple[Entry, Path]:
    folder = tmp_path_factory.mktemp("peak")
    words = ["--model", "llama-tiny", "--launches", "0", "--threads", "2", "--output", str(folder)]
    assert main(["audit", "luminal:cpu", *words]) == 0
    (entry,) = msgspec.json.decode((folder / "audit.json").read_bytes(), type=Audit).entries
    return entry, Path(locate(framework("luminal"), framework("luminal").variant("cpu")).command[0])


def test_opened_files_of_an_executable_are_those_of_strace(peak, tmp_path):
    """`describe` opens what an execution opens, but for the model's own files, which are told apart."""
    entry, program = peak
    strace = trace.strace() or pytest.skip("strace is not installed, or may not trace here")
    log = tmp_path / "log"
    run(strace, "-f", "-e", "trace=open,openat,execve", "-o", log, program, "describe")
    opened = {Path(path) for path in re.findall(r'"(/[^"]+)".* = \d+$', log.read_text(), re.MULTILINE)}
    regular = {path for path in opened if path.is_file() and not str(path).startswith(trace.PSEUDO)}

    assert program in regular
    assert entry.opened.how == "strace"
    assert entry.opened.bytes >= sum(path.stat().st_size for path in regular)
    assert entry.opened.files >= len(regular)
