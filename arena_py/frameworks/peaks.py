"""The most that this machine's processors do with so many threads, by PyTorch: `peaks.py THREADS`.

Prints `{"flops_per_s": .., "bytes_per_s": ..}`: the fastest of several float32 matrix products, and of several triads
`a = b + s * c` over arrays that no cache holds, as in McCalpin's STREAM (https://www.cs.virginia.edu/stream/), which
counts two arrays read and one written. Together they are the roofline of Williams, Waterman & Patterson (Roofline: an
insightful visual performance model for multicore architectures, CACM 52, 2009).
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 2048
"""Of the square matrices."""
ELEMENTS = 1 << 25
"""Of each array: 128 MiB."""
REPEATS = 7


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    import torch  # noqa: PLC0415 (seconds)

    torch.set_num_threads(int(arguments[0]))
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    with torch.inference_mode():
        a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
        product = torch.empty(SIZE, SIZE)
        flops = 2 * SIZE**3 / _fastest_s(lambda: torch.mm(a, b, out=product))
        x, y = torch.rand(ELEMENTS), torch.rand(ELEMENTS)
        triad = torch.empty(ELEMENTS)
        moved = 3 * 4 * ELEMENTS / _fastest_s(lambda: torch.add(x, y, alpha=3.0, out=triad))
    sys.stdout.write(json.dumps({"flops_per_s": flops, "bytes_per_s": moved}) + "\n")
    return 0


def _fastest_s(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
