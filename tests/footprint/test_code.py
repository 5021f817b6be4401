"""Whose code it is: names as rustc writes them, and a program that it compiled just now."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from arena_py.footprint import elf
from arena_py.footprint.code import FOREIGN, crate_of, shares

SOURCE = """
use std::collections::HashMap;
fn main() { let mut m: HashMap<String, Vec<u8>> = HashMap::new(); m.insert("a".into(), vec![1]); println!("{m:?}"); }
"""


@pytest.mark.parametrize(
    ("symbol", "crate"),
    [
        ("_ZN3std3sys9backtrace28__rust_begin_short_backtrace17hef998b74ed5be7daE", "std"),
        ("_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h8e07e19913c272cbE", "core"),
        ("_ZN66_$LT$candle_core..shape..Shape$u20$as$u20$core..fmt..Debug$GT$3fmt17h8e07e19913c272cbE", "candle_core"),
        ("_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE", "core"),
        ("_RNvNtNtCsfEOYDRpO4Ta_11miniz_oxide7inflate4core10decompress", "miniz_oxide"),
        ("_RINvNtCsgEmfK2I1SDS_4core3ptr13drop_in_placeNtNtCs4X4t9plMPHF_9addr2line4unit", "core"),
        ("_ZNSt6vectorIiSaIiEE9push_backERKi", FOREIGN),
        ("memcpy", FOREIGN),
    ],
)
def test_crates_of_names(symbol, crate):
    assert crate_of(symbol) == crate


@pytest.mark.parametrize("flags", [[], ["-C", "symbol-mangling-version=v0"]])
def test_a_compiled_program_is_its_own_and_the_standard_library_s(tmp_path, flags):
    rustc = shutil.which("rustc") or pytest.skip("rustc is not installed")
    (tmp_path / "own.rs").write_text(SOURCE)
    subprocess.run([rustc, "-O", *flags, "own.rs"], cwd=tmp_path, capture_output=True, check=True)
    found = shares(elf.read(tmp_path / "own", symbols=True))

    assert sum(each.share for each in found) == pytest.approx(1)
    assert {"own", "std", "core", "alloc"} <= {each.crate for each in found}
    assert found == sorted(found, key=lambda each: -each.bytes)
