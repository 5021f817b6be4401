"""A whole run of a suite on a machine that is had by the minute: piece by piece, cut off and gone on with.

    python benchmarks/published_run.py --output runs/h200 --minutes 9 [--suite standard] [--model NAME]...
        [--task NAME]... [--framework FRAMEWORK:VARIANT]...
        [--archive FILE] [--from FILE] [-- ARGUMENTS OF compare]

A piece is a model and a task: one `compare` with a folder of its own under `--output`. A piece whose run is finished,
and was asked for by the same arguments, is left alone: calling this again goes on where the last call ended. No piece
is begun that is not likely to end in time, by what the longest one took; the one that is running when the time is up
is interrupted, keeps what it has found, and is done again by the next call.

`--archive` keeps the output in one compressed file, written anew after each piece, in parts of 15 MiB when it is
larger; `--from` unpacks such a file first, on a machine that has nothing of the calls before. Ends with 0 when every
piece is done, with 75 (`EX_TEMPFAIL`: call again) when the time ended first, with 1 when a comparison broke off.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from arena_py.errors import ArenaError
from arena_py.manifest import model, suite

GPU = (
    "pytorch:cuda",
    "pytorch:cuda-compile",
    "pytorch:cudagraphs",
    "pytorch:cuda-tf32",
    "pytorch:cuda-bf16",
    "jax:cuda",
    "jax:cuda-tf32",
    "onnxruntime:cuda",
    "mlx:cuda",
    "llama-cpp:vulkan",
    "candle:cuda",
    "candle:cuda-tf32",
    "burn:vulkan",
    "meganeura:vulkan",
)
"""What runs on an NVIDIA GPU; what is not there is `not_built` or `unavailable`, by name."""
AGAIN = 75
ASKED = "asked.json"
PART_BYTES = 15 << 20
GRACE_S = 20.0
"""For a comparison that is interrupted to write down what it has."""
BROKEN_CELLS = 1
"""What `compare` ends with when its run is whole and a cell is wrong or broken."""


def main() -> int:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder of the runs")
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--model", action="append", help="only these; all of the suite")
    parser.add_argument("--task", action="append", help="only these; all of the suite")
    parser.add_argument("--framework", action="append", help="FRAMEWORK:VARIANT; the GPU variants of all")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--archive", type=Path, help="a file that holds the output, written after each model")
    parser.add_argument("--from", dest="earlier", type=Path, help="such a file of an earlier call")
    parser.add_argument("rest", nargs="*", help="after --: arguments of `compare`")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.earlier:
        unpack(options.earlier, options.output)
    try:
        pieces = list(_pieces(options))
    except ArenaError as error:
        parser.error(error.message)
    deadline = started + options.minutes * 60
    longest_s, broken = 0.0, False
    for name, asked in pieces:
        folder = options.output / name
        if done(folder, asked):
            print(f"{name}: done already", flush=True)
            continue
        left_s = deadline - time.monotonic() - GRACE_S
        if left_s < longest_s or left_s <= 0:
            print(f"{name}: {max(left_s, 0):.0f} s are left, the longest piece took {longest_s:.0f} s", flush=True)
            return AGAIN
        before = time.monotonic()
        code = compared(folder, asked, left_s)
        took_s = time.monotonic() - before
        if options.archive:
            pack(options.output, options.archive)
        if code is None:
            print(f"{name}: interrupted after {took_s:.0f} s", flush=True)
            return AGAIN
        longest_s = max(longest_s, took_s)
        broken |= code not in (0, BROKEN_CELLS)
        print(f"{name}: {took_s:.0f} s, compare ended with {code}", flush=True)
    return int(broken)


def _pieces(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """The name of every piece, and what `compare` is asked for it."""
    chosen = suite(options.suite)
    for name in options.model or chosen.models:
        has = {case.task for case in model(name).cases}
        for task in options.task or chosen.tasks:
            if task in has:
                asked = ["--suite", options.suite, "--model", name, "--task", task]
                yield f"{Path(name).stem}-{task}", [*asked, "--framework", *(options.framework or GPU), *options.rest]


def done(folder: Path, asked: list[str]) -> bool:
    """Whether the folder has a run that reached its end, and was asked for by these arguments."""
    try:
        same = json.loads((folder / ASKED).read_text()) == asked
        return same and json.loads((folder / "run.json").read_text())["finished"] is not None
    except (OSError, ValueError, KeyError):
        return False


def compared(folder: Path, asked: list[str], left_s: float) -> int | None:
    """Run `compare`; its exit code, or none when the time ended first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ASKED).write_text(json.dumps(asked))
    command = [sys.executable, "-m", "arena_py", "compare", *asked, "--output", str(folder)]
    with subprocess.Popen(command) as process:
        try:
            return process.wait(left_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return None


def pack(folder: Path, archive: Path) -> None:
    """The folder as one compressed file, or as several parts `FILE.00`, `FILE.01`, … where it is large."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            tar.add(path, arcname=str(path.relative_to(folder)))
    for old in _parts(archive):
        old.unlink()
    whole = content.getvalue()
    if len(whole) <= PART_BYTES:
        archive.write_bytes(whole)
        return
    for number, start in enumerate(range(0, len(whole), PART_BYTES)):
        archive.with_name(f"{archive.name}.{number:02}").write_bytes(whole[start : start + PART_BYTES])


def unpack(archive: Path, folder: Path) -> None:
    """What `pack` has put away."""
    parts = _parts(archive)
    if not parts:
        raise SystemExit(f"error: {archive}: there is no such file")
    content = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=content, mode="r:xz") as tar:
        tar.extractall(folder, filter="data")


def _parts(archive: Path) -> list[Path]:
    return [archive] if archive.is_file() else sorted(archive.parent.glob(f"{archive.name}.[0-9][0-9]"))


if __name__ == "__main__":
    sys.exit(main())
