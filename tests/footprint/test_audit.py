"""The verb `audit`: what cannot be read, real runners, and two audits compared."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import compiled, environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from arena_py import places
from arena_py.cli.app import main
from arena_py.footprint import crates, growth
from arena_py.footprint.document import Audit, Entry
from arena_py.results import audits

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/audit.schema.json").read_text())
OPTIONS = ["--model", "llama-tiny", "--launches", "6", "--threads", "2"]


def audited(*words: str, folder: Path) -> tuple[int, Audit]:
    code = main(["audit", *words, *OPTIONS, "--output", str(folder)])
    content = (folder / "audit.json").read_bytes()
    jsonschema.validate(json.loads(content), SCHEMA)
    return code, msgspec.json.decode(content, type=Audit)


@pytest.fixture
def broken(tmp_path) -> dict[str, Path]:
    """One of each kind of what cannot be audited."""
    program = compiled(tmp_path, "whole").read_bytes()
    other = bytearray(program)
    other[18] = 183  # EM_AARCH64
    made = {"script": b"#!/bin/sh\n", "truncated": program[:3000], "other": bytes(other), "locked": program}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "bare").mkdir()
    environment(tmp_path / "unrecorded", ("torch", "2.0", []), record=False)
    ring = environment(tmp_path / "ring", ("torch", "2.0", []))
    (ring / "lib" / "again").symlink_to("..")
    (ring / "lib64").symlink_to("lib64")
    nowhere = tmp_path / "nowhere" / "lib" / "python3.11"
    nowhere.mkdir(parents=True)
    (nowhere / "site-packages").symlink_to("site-packages")
    odd = environment(tmp_path / "odd", ("torch", "2.0", []))
    (odd / "lib/python3.11/site-packages/torch-2.0.dist-info/RECORD").write_bytes(b'\0\xff"\n"unclosed')
    (tmp_path / "locked").chmod(0)
    others = ("loop", "dangling", "bare", "unrecorded", "ring", "nowhere", "odd", "whole")
    return {name: tmp_path / name for name in (*made, *others)}


def test_what_cannot_be_read_has_a_row_that_says_why(broken, tmp_path, capsys):
    code, found = audited(*map(str, broken.values()), folder=tmp_path / "audit")
    entries = {entry.label: entry for entry in found.entries}
    out, err = capsys.readouterr()

    assert code == 1
    assert "Traceback" not in out + err
    assert {name: entry.status for name, entry in entries.items()} == {
        "script": "unreadable",
        "truncated": "unreadable",
        "other": "unavailable",
        "locked": "ok" if os.geteuid() == 0 else "unreadable",
        "loop": "unreadable",
        "dangling": "unreadable",
        "bare": "unreadable",
        "unrecorded": "ok",
        "ring": "ok",
        "nowhere": "unreadable",
        "odd": "ok",
        "whole": "ok",
    }
    for name, told in {
        "script": "a script",
        "truncated": "truncated ELF file",
        "other": "for aarch64",
        "loop": "too many levels of symbolic links",
        "dangling": "no such file",
        "bare": "not a Python environment",
        "nowhere": "it has no lib/python3*/site-packages",
    }.items():
        assert told in entries[name].reason
        assert f"{name}: {entries[name].status}: {entries[name].reason}" in out
    assert "torch has no RECORD: its files are counted as nobody's" in out
    assert entries["whole"].executable.cpu_level_from


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="root alone can become somebody else")
def test_without_permission_the_row_says_so(broken, tmp_path):
    from arena_py.footprint.audit import of_path

    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and "pytest" in str(parent):
            parent.chmod(0o755)
    (broken["ring"] / "lib" / "python3.11" / "site-packages" / "torch").chmod(0)
    os.seteuid(65534)
    try:
        found = [of_path(broken[name]) for name in ("locked", "ring")]
    finally:
        os.seteuid(0)

    assert [(each.status, each.reason) for each in found] == [("unreadable", "permission denied")] * 2


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[Path, Audit]:
    """An executable and an environment, on a tiny model."""
    folder = tmp_path_factory.mktemp("audit")
    code, found = audited("luminal:cpu", "onnxruntime:cpu", folder=folder)
    assert code == 0, [(entry.label, entry.status, entry.reason) for entry in found.entries]
    return folder, found


def test_an_executable_is_weighed_started_and_right(real):
    entry = real[1].entries[0]
    executable = places.artifacts() / "bin" / "arena-luminal"

    assert (entry.status, entry.kind) == ("ok", "executable")
    assert entry.executable.bytes == entry.shipped_bytes == executable.stat().st_size == entry.build.bytes
    assert entry.verification.passed
    assert entry.weights_bytes > 80_000
    assert entry.executable.cpu_level.startswith("x86-64") or entry.executable.machine != "x86_64"
    assert [library.name for library in entry.executable.libraries if library.path is None] == []
    assert {each.task: each.status for each in entry.memory} == dict.fromkeys(("infer", "decode", "train"), "passed")
    assert all(each.peak_bytes > 1_000_000 and each.over_weights > 1 for each in entry.memory)
    for launches in (entry.startup.warm, entry.startup.cold):
        assert launches.launches == 6
        assert launches.ready_ns.low <= launches.ready_ns.value <= launches.ready_ns.high
        assert all(0 < ready < first for ready, first in launches.samples)


def test_an_environment_is_more_than_what_one_execution_opens(real):
    entry = real[1].entries[1]
    found = {each.name: each for each in entry.environment.distributions}

    assert (entry.status, entry.kind) == ("ok", "environment")
    assert entry.verification.passed
    assert found["onnxruntime"].role == "framework"
    assert 0 < found["onnxruntime"].opened_bytes < found["onnxruntime"].bytes
    assert found["msgspec"].role == "runner"
    assert sum(each.opened_bytes for each in found.values()) < entry.environment.bytes
    assert 0 < entry.environment.runtime.opened_bytes < entry.environment.runtime.bytes
    assert any("onnxruntime" in library.path for library in entry.opened.libraries)
    assert entry.environment.beside["onnxruntime-exporter"] > entry.environment.bytes
    assert entry.memory[1].status == "unsupported"


def test_no_path_of_this_machine_is_told(real):
    assert str(places.artifacts().parent) not in (real[0] / "audit.json").read_text().replace(" ".join(sys.argv), "")


def test_bills_name_every_component(real):
    folder, found = real
    for entry in found.entries:
        bill = json.loads((folder / entry.sbom).read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
        assert {each["purl"] for each in bill["components"]} == {each.purl for each in entry.components}
        assert all(each["licenses"] for each in bill["components"] if each["name"] != "unknown")


def test_crates_are_those_of_the_lock_with_its_hashes():
    found = crates.of("luminal", [])
    lock = tomllib.loads((places.rust_bins() / "luminal/Cargo.lock").read_text())["package"]
    known = {(each["name"], each["version"]): each.get("checksum") for each in lock}

    assert {(each.name, each.version): each.sha256 for each in found.linked}.items() <= known.items()
    assert {"luminal", "arena-runner", "serde"} <= {each.name for each in found.linked}
    # A macro's own code is the compiler's.
    assert "serde_derive" not in {each.name for each in found.linked}
    assert all(each.licence for each in found.linked)


def test_the_tables_are_in_every_format(real, tmp_path, capsys):
    for format_, expected in {"md": "## Start-up", "csv": "label,kind,status", "json": '"entries"'}.items():
        words = ["audit", str(compiled(tmp_path, f"p{format_}")), *OPTIONS, "--format", format_]
        main([*words, "--output", str(tmp_path / format_)])
        if format_ != "md":
            assert expected in capsys.readouterr().out
    assert "## Start-up" in (real[0] / "audit.md").read_text()


def test_two_audits_show_what_grew(real, tmp_path, capsys):
    folder, found = real
    environment_, executable = found.entries[1].environment, found.entries[0]
    shrunk = [
        msgspec.structs.replace(each, bytes=each.bytes - 1000) if each.name == "onnxruntime" else each
        for each in environment_.distributions
        if each.name != "msgspec"
    ]
    older = msgspec.structs.replace(
        found,
        entries=[
            msgspec.structs.replace(executable, components=executable.components[1:]),
            msgspec.structs.replace(
                found.entries[1], environment=msgspec.structs.replace(environment_, distributions=shrunk)
            ),
        ],
    )
    (tmp_path / "older").mkdir()
    audits.save(tmp_path / "older", older, "")

    parts = {(each.label, each.part): each for each in growth.difference(older, found).parts}
    code = main(["diff", str(tmp_path / "older"), str(folder)])
    out = capsys.readouterr().out

    assert parts["onnxruntime:cpu", "package onnxruntime"].bytes == 1000
    assert parts["onnxruntime:cpu", "package msgspec"].before is None
    first = executable.components[0]
    assert parts["luminal:cpu", f"crate {first.name}"].detail == f"new, {first.version}"
    assert code == 0
    assert "package onnxruntime" in out
    assert growth.difference(found, found).parts == []
    assert main(["diff", str(folder), "nothing"]) == 2


def test_what_came_and_went_is_told():
    made = [Entry(label=label, kind="executable", status="not_built") for label in ("a:cpu", "b:cpu")]
    before, after = (_audit([entry]) for entry in made)

    assert [(each.label, each.detail) for each in growth.difference(before, after).parts] == [
        ("a:cpu", "gone, not_built"),
        ("b:cpu", "new, not_built"),
    ]


def _audit(entries: list[Entry]) -> Audit:
    from arena_py.measure.machine import machine

    return Audit(
        schema=1, arena="0", id="x", started="", command=[], model="m", threads=1, machine=machine(), tools={},
        entries=entries,
    )  # fmt: skip


def test_unknown_names_are_usage_errors(tmp_path, capsys):
    assert main(["audit", "nonsense", *OPTIONS, "--output", str(tmp_path / "none")]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["audit", "--launches", "-1"]) == 2
    assert main(["audit", "--budget", "0"]) == 2
    assert not (tmp_path / "none").exists()


def test_older_tables_are_refused_by_name(tmp_path, capsys):
    shutil.copy(Path(__file__), tmp_path / "audit.json")

    assert main(["diff", str(tmp_path), str(tmp_path)]) == 2
    assert "not an audit" in capsys.readouterr().err


def test_what_was_found_stays_when_the_rest_is_interrupted(tmp_path, monkeypatch, capsys):
    from arena_py.footprint import survey

    first = Entry(label="luminal:cpu", kind="executable", status="not_built", reason="not built yet")

    def interrupted(asked, told):
        yield first
        raise KeyboardInterrupt

    monkeypatch.setattr(survey, "of_variants", interrupted)
    folder = tmp_path / "audit"
    assert main(["audit", "luminal:cpu", "candle:cpu", *OPTIONS, "--output", str(folder)]) == 130

    found = audits.load(folder / "audit.json")
    assert found.entries == [first]
    assert found.unfinished == ["candle:cpu"]
    assert "candle:cpu: not reached, the audit was interrupted" in (folder / "audit.md").read_text()
    capsys.readouterr()


def test_one_that_goes_away_meanwhile_is_a_row_of_its_own(tmp_path, monkeypatch):
    from arena_py.footprint import audit

    def gone(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(audit, "of_variant", gone)
    code, found = audited("luminal:cpu", folder=tmp_path / "audit")

    assert code == 1
    assert [(each.status, each.reason) for each in found.entries] == [("unreadable", "no such file or directory")]


def test_a_start_whose_budget_is_spent_says_so():
    from arena_py.footprint.document import Launches, Startup
    from arena_py.report import audit as report
    from arena_py.results.document import Interval

    seven = Launches(
        launches=7, ready_ns=Interval(1, 1, 1), first_ns=Interval(2, 2, 2), cpu_ready_s=0, cpu_first_s=0,
        peak_bytes=None, samples=[],
    )  # fmt: skip
    slow = Startup(case="m/latency/s", warm=seven, cold=None, cold_how="not measured", asked=20, budget_s=600.0)
    found = _audit([Entry(label="a:cpu", kind="executable", status="ok", startup=slow)])

    assert "a:cpu: 7 of 20 starts of each kind, in the 600 s of --budget" in report.remarks(found)
