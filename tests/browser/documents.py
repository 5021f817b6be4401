"""Runs for the browser: every status and extreme, hostile words in every field, several shapes."""

import msgspec
from audit_documents import audit, entry, environment, executable
from msgspec import inspect
from run_documents import MS, WRONG, around, cell, run

from arena_py.results.document import Energy, Interval
from arena_py.results.observed import Breakdown, Observation, Roofline

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u202e &amp; `x` | \"'"


def everything():
    """Every status, one sample, none, a tie, a curve, hostile words."""
    curve = msgspec.structs.replace(
        cell("x:y", around(1)).verification, curve=[4.0, 2.1, None], reference_curve=[4.0, 2.0, 1.0]
    )
    return run(
        cell("candle:cpu", around(100), language="rust", backend="cpu"),
        cell("burn:flex", around(150), language="rust", backend="flex"),
        cell("jax:cpu", around(150.2, spread=0.05), language="python", backend="cpu"),
        cell("luminal:cpu", around(50), error=WRONG, log_tail=[HOSTILE]),
        cell(
            "mlx:cpu", [3000], energy=Energy(joules={"cpu": Interval(90.0, 80.0, 99.0)}, valid=False, doubts=["busy"])
        ),
        cell("a:unsupported", status="unsupported", reason=HOSTILE),
        cell("a:unavailable", status="unavailable", reason="no device"),
        cell("a:crashed", status="crashed", reason="died", log_tail=["Segmentation fault"]),
        cell("a:timed", status="timed_out", reason="600 s"),
        cell("a:not", status="not_built", reason="no cargo"),
        cell(f"{HOSTILE.replace(':', '')}:v", around(120), notes=[HOSTILE]),
        cell("candle:cpu", around(10), case="tiny/step/b1", verification=curve, language="rust", backend="cpu"),
        warnings=[HOSTILE],
        observations=[Observation(case="tiny/infer/b1", launch=0, round=0, load_average=0.1)],
        breakdown=Breakdown(
            wall_ns=60_000 * MS,
            startups_ns=1_000 * MS,
            loads_ns=5_000 * MS,
            prepares_ns=2_000 * MS,
            samples_ns=40_000 * MS,
            verify_ns=3_000 * MS,
            preparation_ns=9_000 * MS,
            driver_cpu_share=0.01,
        ),
        roofline=Roofline(flops_per_s=2e11, bytes_per_s=1e10, threads=2),
    )


def taken_apart():
    """An audit of some of its variants, hostile words in it."""
    candle = cell("candle:cpu", around(100))
    packages = ((HOSTILE, "1.0", "framework", 9_000_000), ("none", "1", "models", None))
    return audit(
        entry("candle:cpu", build=candle.build, executable=executable(code=(("gemm", 4_000_000), (HOSTILE, 90_000)))),
        entry("jax:cpu", environment=environment(*packages)),
        entry("burn:flex"),
    )


def many():
    """2 000 cells."""
    cells = [
        cell(f"f{number % 20}:v", around(100 + number % 7, 6), case=f"m{number // 200}/infer/b{number // 20}")
        for number in range(2000)
    ]
    one = run(*cells[:20])
    return msgspec.structs.replace(
        one,
        cells=[
            msgspec.structs.replace(each, summary=one.cells[number % 20].summary) for number, each in enumerate(cells)
        ],
    )


def swept():
    """One task of one model on four shapes, a variant in half precision among them, one cell wrong."""
    cells = []
    for batch in (1, 4):
        for seq in (128, 1024):
            case, times = f"tiny/infer/b{batch}s{seq}", batch * seq / 128
            size = {"case": case, "units_per_execution": batch * seq}
            cells += [
                cell("candle:cpu", around(10 * times), backend="cpu", **size),
                cell("burn:vulkan", around(30 + times), backend="vulkan", **size),
                cell("pytorch:bf16", around(5 * times), backend="cuda", precision="bf16", **size),
                cell("luminal:cpu", around(9), backend="cpu", **(size | ({"error": WRONG} if seq == 1024 else {}))),
            ]
    return run(*cells, cell("candle:cpu", around(10), case="tiny/train/b1s128"))


def hostile(document):
    """The document with hostile words in every field that may hold any word, the names of mappings included."""
    return msgspec.convert(_hostile(msgspec.to_builtins(document), inspect.type_info(type(document))), type(document))


def _hostile(value, kind, where=""):
    """`where` tells one field from another, and one cell from the next in what names it."""
    if isinstance(kind, inspect.UnionType):
        kind = next((each for each in kind.types if not isinstance(each, inspect.NoneType)), kind)
        return None if value is None else _hostile(value, kind, where)
    if isinstance(kind, inspect.StrType) and kind.pattern is None:
        return f"{HOSTILE}{where}"
    if isinstance(kind, inspect.StructType):
        if kind.array_like:
            return value
        fields = {each.encode_name: each.type for each in kind.fields}
        return {name: _hostile(each, fields[name], name) for name, each in value.items()}
    if isinstance(kind, inspect.ListType):
        found = [_hostile(each, kind.item_type, where) for each in value]
        for position, each in enumerate(found):
            if isinstance(each, dict) and "framework" in each and "variant" in each:
                each["framework"] += str(position)
        return found
    if isinstance(kind, inspect.DictType):
        named = isinstance(kind.key_type, inspect.StrType)
        return {
            f"{HOSTILE}{position}" if named else name: _hostile(each, kind.value_type, where)
            for position, (name, each) in enumerate(value.items())
        }
    return value
