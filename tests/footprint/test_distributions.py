"""Environments: every byte is somebody's, the total is that of du, and broken ones say what they lack."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import environment, run, tool

from arena_py.build import locate
from arena_py.footprint import distributions, takeapart
from arena_py.footprint.elf import Unreadable
from arena_py.footprint.size import bytes_of
from arena_py.manifest import framework

TORCH = ("torch", "2.0", ["sympy>=1", "msgspec; extra == 'fast'", "old; python_version < '3.9'"])
REST = (("sympy", "1.1", []), ("msgspec", "1.0", []), ("old", "1.0", []), ("Trans_formers", "4.0", ["torch", "sympy"]))


def test_files_are_whose_record_names_them_and_so_is_what_was_compiled(tmp_path):
    found = distributions.read(environment(tmp_path, TORCH))

    assert {path.name for path in found.files_of("torch")} == {
        "__init__.py", "__init__.cpython-311.pyc", "METADATA", "RECORD",
    }  # fmt: skip
    assert [path.name for path in found.sizes if path not in found.owners] == ["pyvenv.cfg"]


def test_roles_are_by_who_needs_whom(tmp_path):
    found = distributions.read(environment(tmp_path, TORCH, *REST))
    pins = ["torch==2.0", "trans-formers==4.0", "msgspec==1.0"]

    assert distributions.roles(pins, found.installed, "3.11.7") == {
        "torch": "framework", "sympy": "framework", "msgspec": "runner", "old": "models", "trans-formers": "models",
    }  # fmt: skip
    assert "msgspec" in distributions.closure(["torch[fast]"], found.installed, "3.11.7")
    assert "old" in distributions.closure(["torch"], found.installed, "3.8.1")


def test_circles_of_requirements_end(tmp_path):
    found = distributions.read(environment(tmp_path, ("a", "1", ["b"]), ("b", "1", ["a"])))

    assert distributions.closure(["a"], found.installed, "3.11.7") == {"a", "b"}


def test_without_record_the_files_are_nobody_s(tmp_path):
    found = distributions.read(environment(tmp_path, TORCH, record=False))
    made = takeapart.environment(found, [], "3.11.7", runtime=None, opened=None)

    assert (made.distributions[0].bytes, made.distributions[0].files) == (None, None)
    assert made.unowned_bytes == made.bytes > 150


def test_loops_of_links_are_not_followed(tmp_path):
    folder = environment(tmp_path, TORCH)
    before = distributions.read(folder).sizes
    (folder / "lib" / "again").symlink_to("..")
    (folder / "lib" / "self").symlink_to("self")

    assert distributions.read(folder).sizes == before


def test_hard_links_count_once(tmp_path):
    folder = environment(tmp_path, TORCH)
    before = bytes_of(folder)
    os.link(folder / "pyvenv.cfg", folder / "again.cfg")

    assert sum(distributions.read(folder).sizes.values()) == before


def test_what_is_no_environment_says_so(tmp_path):
    with pytest.raises(Unreadable, match="not a Python environment"):
        distributions.read(tmp_path)
    with pytest.raises(Unreadable, match="no such file"):
        distributions.read(tmp_path / "none")


def test_opened_files_count_for_their_distribution(tmp_path):
    found = distributions.read(environment(tmp_path, TORCH, *REST))
    module = found.site / "sympy" / "__init__.py"
    made = takeapart.environment(found, ["torch"], "3.11.7", runtime=None, opened=[module, Path("/etc/passwd")])

    assert {each.name: (each.opened_files, each.opened_bytes) for each in made.distributions if each.opened_files} == {
        "sympy": (1, 100)
    }


@pytest.mark.skipif(sys.platform == "win32", reason="MLX has no such build")
def test_a_real_environment_is_what_du_says():
    mlx = framework("mlx")
    built = locate(mlx, mlx.variant("cpu"))
    folder = Path(built.command[0]).parents[1].resolve()
    found = distributions.read(folder)
    made = takeapart.environment(found, mlx.requirements, "3.11.7", runtime=None, opened=None)
    # What du counts besides: the folders themselves, and links.
    told = run(tool("find"), folder, "-type", "f", "-printf", "%i %s\n").split("\n")
    total = sum(int(line.split()[1]) for line in set(told) if line)

    assert made.bytes == total == bytes_of(folder)
    assert made.bytes == made.unowned_bytes + sum(each.bytes for each in made.distributions)
    apparent = int(run(tool("du"), "-sb", folder).split()[0])
    folders = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_dir() or path.is_symlink())
    assert apparent == made.bytes + folders + folder.stat().st_size
    assert {each.name: each.role for each in made.distributions}["mlx"] == "framework"
