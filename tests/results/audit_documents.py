"""Audits for tests: an executable taken apart by crate, an environment by package."""

import msgspec
from run_documents import run

from arena_py.build.record import BuildRecord
from arena_py.footprint.document import (
    SCHEMA,
    Audit,
    CrateShare,
    Distribution,
    Entry,
    Environment,
    Executable,
    Library,
    Opened,
    Runtime,
    Section,
)


def executable(*, code=(("candle_core", 3_000_000), ("gemm", 1_000_000)), total=6_000_000):
    whole = sum(count for _, count in code) or 1
    return Executable(
        machine="x86_64",
        bits=64,
        bytes=total,
        stripped=True,
        stripped_bytes=total,
        zstd_bytes=2_000_000,
        sections=[
            Section(".text", 4_000_000, True, True),
            Section(".rodata", 1_500_000, True, True),
            Section(".bss", 9_000_000, False, True),
        ],
        linkage="static-pie",
        interpreter=None,
        libraries=[Library(name="libm.so.6", path="/lib/libm.so.6", bytes=900_000)],
        oldest_glibc=None,
        cpu_level="x86-64",
        cpu_level_from="its settings",
        code=[CrateShare(crate=name, bytes=count, share=count / whole) for name, count in code],
        code_from="the same sources built with symbols" if code else "no symbols: it is stripped",
    )


def environment(*packages):
    given = packages or (("torch", "2.9.1", "framework", 800_000_000), ("transformers", "5.0", "models", 60_000_000))
    found = [
        Distribution(
            name=name,
            version=version,
            role=role,
            bytes=count,
            files=None if count is None else 10,
            opened_bytes=count and count // 4,
        )
        for name, version, role, count in given
    ]
    return Environment(
        bytes=sum(each.bytes or 0 for each in found) + 5_000,
        files=100,
        unowned_bytes=5_000,
        framework_bytes=sum(each.bytes or 0 for each in found if each.role == "framework"),
        distributions=found,
        runtime=Runtime(version="3.11.7", executable_bytes=6_000_000, library_bytes=0, stdlib_bytes=40_000_000),
    )


def entry(label, *, build=None, **parts):
    kind = "executable" if "executable" in parts else "environment" if "environment" in parts else "unknown"
    opened = Opened(how="strace", files=321, bytes=250_000_000, libraries=[]) if kind == "environment" else None
    given = {"status": "ok" if parts else "not_built", "version": build.version if build else None, "opened": opened}
    return Entry(label=label, kind=kind, build=build, **(given | parts))


def build_of(cell, **changes) -> BuildRecord:
    """The build that the cell measured, or one that differs."""
    return msgspec.structs.replace(cell.build, **changes)


def audit(*entries, started="2026-01-01T00:00:00Z", identity="20260101T000000Z-audit"):
    return Audit(
        schema=SCHEMA,
        arena="0.1.0",
        id=identity,
        started=started,
        command=["arena", "audit"],
        model="llama-tiny",
        threads=2,
        machine=run().machine,
        tools={},
        entries=list(entries),
    )
