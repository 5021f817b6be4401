"""ELF files: figures held against binutils and ldd, and files that are no executables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import compiled, run, tool, with_library

from arena_py.footprint import cpu_level, elf, libraries
from arena_py.footprint.elf import Unreadable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's format")


@pytest.fixture(scope="module")
def executable(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("plain"), "plain")


def test_sections_are_those_of_readelf(executable):
    told = run(tool("readelf"), "-SW", executable)
    rows = re.findall(r"\[ *\d+\] (\S+) +(\S+) +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+)", told)
    expected = {name: (int(size, 16), kind != "NOBITS") for name, kind, size in rows if kind != "NULL"}

    found = {each.name: (each.bytes, each.in_file) for each in elf.read(executable).sections}

    assert found == expected


def test_loaded_sections_are_those_that_size_counts(executable):
    total = int(run(tool("size"), executable).splitlines()[1].split()[3])

    assert sum(each.bytes for each in elf.read(executable).sections if each.loaded) == total


def test_the_closure_is_that_of_ldd(tmp_path):
    program = with_library(tmp_path)
    told = re.findall(r"(\S+) => (\S+) \(", run(tool("ldd"), program))

    found = libraries.closure(elf.read(program))

    assert {each.name for each in found} == {name for name, _ in told} > {"libtwice.so"}
    assert {Path(each.path).resolve() for each in found} == {Path(path).resolve() for _, path in told}
    assert all(each.bytes == Path(each.path).stat().st_size for each in found)


def test_a_library_that_is_not_there_is_told_without_a_path(tmp_path):
    program = with_library(tmp_path)
    (tmp_path / "lib" / "libtwice.so").unlink()

    (missing,) = [each for each in libraries.closure(elf.read(program)) if each.path is None]

    assert (missing.name, missing.bytes, missing.needed_by) == ("libtwice.so", None, "user")


def test_glibc_is_the_newest_that_readelf_lists(executable):
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", run(tool("readelf"), "-V", executable))

    assert elf.read(executable).oldest_glibc == "{}.{}".format(*max((int(a), int(b)) for a, b in versions))


def test_stripping_it_gives_about_what_was_foretold(executable, tmp_path):
    stripped = tmp_path / "stripped"
    shutil.copy(executable, stripped)
    run(tool("strip"), stripped)

    before, after = elf.read(executable), elf.read(stripped)

    assert (before.stripped, after.stripped) == (False, True)
    assert after.stripped_bytes == after.bytes
    # The table of sections and the alignment shrink, too.
    assert 0 <= before.stripped_bytes - after.bytes < 512


@pytest.mark.parametrize(
    ("flags", "linkage"), [((), "dynamic"), (("-static",), "static"), (("-static-pie",), "static-pie")]
)
def test_linkage(tmp_path, flags, linkage):
    found = elf.read(compiled(tmp_path, "linked", *flags))

    assert found.linkage == linkage
    assert (found.interpreter is not None) == bool(found.needed) == (linkage == "dynamic")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="levels are those of x86-64")
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
def test_the_level_is_that_of_its_note(tmp_path, level):
    program = compiled(tmp_path, "new", f"-Wl,-z,{level}")

    assert cpu_level.of_file(elf.read(program)) == (level, cpu_level.NOTE)


def test_functions_are_there_with_their_sizes(executable):
    found = dict(elf.read(executable, symbols=True).symbols)

    assert found["main"] > 0
    assert found["twice"] > 0
    assert sum(found.values()) <= elf.read(executable).code_bytes


def test_zstd_says_the_same(executable):
    told = subprocess.run([tool("zstd"), "-19", "-c", executable], capture_output=True, check=True).stdout

    # The program adds a checksum of the content, and may be of another version of the library.
    assert elf.zstd_bytes(executable) == pytest.approx(len(told), rel=0.02)


@pytest.mark.parametrize("kept", [5, 60, 300, 3000, 0.5, 0.99])
def test_a_truncated_file_says_so(executable, tmp_path, kept):
    content = executable.read_bytes()
    part = tmp_path / "part"
    part.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])

    with pytest.raises(Unreadable, match=r"truncated ELF file|header cannot be read"):
        elf.read(part)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"#!/bin/sh\n", "a script"),
        (b"MZ\x90\0", "a Windows executable"),
        (b"\xcf\xfa\xed\xfe", "a macOS executable"),
        (b"hello", "it starts with b'hell'"),
    ],
)
def test_other_files_are_named(tmp_path, content, told):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(Unreadable, match=re.escape(told)):
        elf.read(tmp_path / "file")


def test_folders_loops_and_missing_files(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name, told in {"": "not a regular file", "loop": "too many levels", "none": "no such file"}.items():
        with pytest.raises(Unreadable, match=told):
            elf.read(tmp_path / name)
