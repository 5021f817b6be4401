"""The most that this machine's processors do with so many threads, or its CUDA device, by PyTorch.

`peaks.py THREADS` for the processors, `peaks.py THREADS cuda PRECISION` for the device. Prints
`{"flops_per_s": .., "bytes_per_s": .., "device": ..}`: the fastest of several matrix products (float32, unless another
precision is asked for), and of several triads `a = b + s * c` over float32 arrays that no cache holds, as in McCalpin's
STREAM (https://www.cs.virginia.edu/stream/), which counts two arrays read and one written. Together they are the
roofline of Williams, Waterman & Patterson (Roofline: an insightful visual performance model for multicore
architectures, CACM 52, 2009).
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices."""
ELEMENTS = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Of each array: 128 MiB, 1 GiB."""
REPEATS = 7


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    import torch  # noqa: PLC0415 (seconds)

    threads, place, precision = arguments if len(arguments) > 1 else (arguments[0], "cpu", "f32")
    if place == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("error: PyTorch finds no CUDA device\n")
        return 1
    torch.set_num_threads(int(threads))
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64}.get(precision, torch.float32)
    size, elements = SIZE[place], ELEMENTS[place]
    wait = torch.cuda.synchronize if place == "cuda" else _nothing
    with torch.inference_mode():
        a, b = (torch.rand(size, size, device=place).to(dtype) for _ in range(2))
        product = torch.empty_like(a)
        flops = 2 * size**3 / _fastest_s(lambda: torch.mm(a, b, out=product), wait)
        x, y = (torch.rand(elements, device=place) for _ in range(2))
        triad = torch.empty_like(x)
        moved = 3 * 4 * elements / _fastest_s(lambda: torch.add(x, y, alpha=3.0, out=triad), wait)
    device = torch.cuda.get_device_name() if place == "cuda" else None
    sys.stdout.write(json.dumps({"flops_per_s": flops, "bytes_per_s": moved, "device": device}) + "\n")
    return 0


def _nothing() -> None:
    """What a processor computed is there when the call returns."""


def _fastest_s(run: Callable[[], object], wait: Callable[[], None]) -> float:
    taken = []
    for _ in range(REPEATS):
        wait()
        start = time.perf_counter()
        run()
        wait()
        taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
