"""Cells and runs for tests, made from as few words as possible."""

from arena_py.build.record import BuildRecord
from arena_py.contract.messages import Backend, Build, Description, FrameworkVersion
from arena_py.manifest import GateLimits, Sampling
from arena_py.results.document import (
    SCHEMA,
    Cell,
    Launch,
    Machine,
    Prepared,
    Run,
    Settings,
    TensorError,
    Turn,
    Verification,
)
from arena_py.results.summary import by_case, summarised

MS = 1_000_000
RIGHT = TensorError(name="logits", error=3.1e-7, limit=7.6e-6)
WRONG = TensorError(name="logits", error=2.0e-2, limit=7.6e-6)


def turns(samples_ms, launches=3):
    """One sample a turn, dealt out over the launches in order."""
    each = -(-len(samples_ms) // launches)
    return [
        Turn(launch=number // each, round=number % each, order=number, ns=[int(ms * MS)])
        for number, ms in enumerate(samples_ms)
    ]


def cell(label, samples_ms=(), *, status=None, case="tiny/infer/b1", error=RIGHT, **changes):
    framework, _, variant = label.partition(":")
    model, task, shape = case.split("/")
    verification = Verification(
        passed=error.passed, worst=error, tensors=[error], problems=[], loss=1.25, reference_loss=1.25
    )
    given = {
        "framework": framework,
        "variant": variant,
        "model": model,
        "task": task,
        "shape": shape,
        "unit": "token",
        "units_per_execution": 128,
        "status": status or ("passed" if error.passed else "wrong"),
        "reason": None if error.passed and not status else "logits: error 2.00e-02 is over the limit 7.60e-06",
        "boundary": "host",
        "precision": "f32",
        "threads": 2,
        "description": Description(
            contract=1,
            runner=framework,
            framework=FrameworkVersion(framework, "1.0"),
            backends=[Backend("cpu", "a CPU", ["f32"])],
            architectures={"llama": ["infer"]},
            own_kernels=["im2col"] if framework == "candle" else [],
            build=Build("rustc 1.95.0", "release", []),
        ),
        "build": BuildRecord(
            schema=1,
            framework=framework,
            version="1.0",
            features=[],
            source_sha256="0" * 64,
            lock_sha256="0" * 64,
            compiler="rustc 1.95.0",
            seconds=1.0,
            bytes=5_000_000,
            executable_sha256="0" * 64,
            started="2026-01-01T00:00:00Z",
        ),
        "parameters": 1000,
        "parameter_bytes": 4000,
        "shipped_bytes": 5_000_000,
        "verification": verification if samples_ms else None,
        "launches": [
            Launch(startup_ns=20 * MS, load_ns=300 * MS, prepare_ns=MS, first_ns=250 * MS, peak_rss_bytes=600 << 20)
        ]
        * (3 if samples_ms else 0),
        "turns": turns(list(samples_ms)),
    }
    return Cell(**(given | changes))


def run(*cells, seed=0, **changes):
    """A run whose cells are summarised, as `compare` leaves it."""
    done = [found for case in by_case(cells).values() for found in summarised(case, seed=seed)]
    given = {
        "schema": SCHEMA,
        "arena": "0.1.0",
        "id": "20260101T000000Z-quick",
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:01:00Z",
        "command": ["arena", "compare"],
        "suite": "quick",
        "seed": seed,
        "threads": 2,
        "machine": Machine(
            system="Linux",
            kernel="6.1",
            architecture="x86_64",
            cpu="A CPU",
            cores=2,
            threads=2,
            usable_threads=2.0,
            memory_bytes=8 << 30,
            virtual=True,
            governor=None,
            frequency_mhz=2100.0,
            load_average=[0.1, 0.1, 0.1],
            python="3.11.7",
        ),
        "settings": Settings(sampling=Sampling(), gate={"f32": GateLimits(8.0, 1e-6)}),
        "cases": [
            Prepared(
                case=name,
                architecture="llama",
                config={"hidden_size": 32},
                weights_source="seeded",
                weights_sha256="a" * 64,
                inputs_sha256="b" * 64,
                bound_inputs_sha256=["c" * 64],
                reference_sha256="d" * 64,
                noise={"outputs": 9.5e-7},
            )
            for name in by_case(cells)
        ],
        "cells": done,
    }
    return Run(**(given | changes))


def around(centre_ms, count=30, spread=0.01):
    """Samples a little above and below the centre, in turns."""
    return [centre_ms * (1 + spread * ((number % 5) - 2) / 2) for number in range(count)]
