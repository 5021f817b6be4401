"""What the page knows of executables and environments, from audits."""

from audit_documents import audit, build_of, entry, environment, executable
from run_documents import around, cell, run

from arena_py.report.html.footprints import footprints

CANDLE = cell("candle:cpu", around(100))


def test_the_parts_of_an_executable_are_its_crates_and_the_other_sections_of_its_file():
    found = footprints(run(CANDLE), [audit(entry("candle:cpu", build=CANDLE.build, executable=executable()))])
    assert [(part.group, part.name, part.bytes) for part in found[0].parts] == [
        ("code by crate", "candle_core", 3_000_000),
        ("sections", ".rodata", 1_500_000),
        ("code by crate", "gemm", 1_000_000),
        ("sections", "headers and padding", 500_000),
    ]
    assert sum(part.bytes for part in found[0].parts) == found[0].bytes == 6_000_000
    assert "Needs 1 shared library of the system besides, 879 KiB" in found[0].words


def test_without_symbols_the_code_is_one_section_and_the_reason_is_told():
    stripped = executable(code=())
    (found,) = footprints(run(CANDLE), [audit(entry("candle:cpu", build=CANDLE.build, executable=stripped))])
    assert (found.parts[0].name, found.parts[0].bytes) == (".text", 4_000_000)
    assert "Code by crate: no symbols: it is stripped" in found.words


def test_the_parts_of_an_environment_are_its_packages_and_what_belongs_to_none():
    made = environment(("torch", "2.9", "framework", 800), ("numpy", "2", "runner", 40), ("odd", "1", "models", None))
    (found,) = footprints(run(cell("pytorch:eager", around(9))), [audit(entry("pytorch:eager", environment=made))])
    assert [(part.group, part.name, part.bytes, part.opened_bytes) for part in found.parts] == [
        ("no package", "files of no package", 5000, None),
        ("the framework", "torch 2.9", 800, 200),
        ("for the runner", "numpy 2", 40, 10),
    ]
    assert "Without a list of their files, and so not drawn: odd" in found.words
    assert "Python 3.11.7 below it, 43.9 MiB, is not in it" in found.words


def test_the_runs_own_build_is_taken_before_a_newer_one():
    other = build_of(CANDLE, executable_sha256="1" * 64, version="2.0")
    audits = [
        audit(entry("candle:cpu", build=CANDLE.build, executable=executable()), started="2026-01-01T00:00:00Z"),
        audit(entry("candle:cpu", build=other, executable=executable(total=7_000_000)), started="2026-03-01T00:00:00Z"),
    ]
    (found,) = footprints(run(CANDLE), audits)
    assert (found.same, found.bytes) == (True, 6_000_000)
    (found,) = footprints(run(CANDLE), audits[1:])
    assert (found.same, found.bytes) == (False, 7_000_000)
    told = "Taken apart by the audit of 2026-03-01 (version 2.0): not the build that this run measured"
    assert told in found.words


def test_variants_of_one_environment_share_it_and_what_was_not_built_has_none():
    eager, compiled = cell("pytorch:eager", around(9)), cell("pytorch:compile", around(8))
    made = audit(
        entry("pytorch:eager", build=eager.build, environment=environment()),
        entry("pytorch:compile", build=eager.build, environment=environment()),
        entry("candle:cpu"),
    )
    (found,) = footprints(run(eager, compiled, CANDLE), [made])
    assert found.labels == ["pytorch:eager", "pytorch:compile"]
    assert footprints(run(CANDLE), []) == []
