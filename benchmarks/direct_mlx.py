"""SmolLM2-135M in plain MLX, without Arena: what the MLX row of a comparison is held against.

    artifacts/env/mlx/bin/python benchmarks/direct_mlx.py [--iterations N] [--task infer|train]

Prints one line of JSON: seconds of user CPU and nanoseconds of wall clock for each execution.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from typing import Any

import mlx.core as mx
from mlx import nn

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, GROUPS, WIDTH, TOKENS = 49152, 576, 1536, 30, 9, 3, 64, 128
SHAPES = {
    "q": (HEADS * WIDTH, HIDDEN), "k": (GROUPS * WIDTH, HIDDEN), "v": (GROUPS * WIDTH, HIDDEN),
    "o": (HIDDEN, HEADS * WIDTH), "gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER),
}  # fmt: skip


def forward(weights: Any, ids: Any) -> Any:
    x = weights["embed"][ids]
    for w in weights["layers"]:
        y = mx.fast.rms_norm(x, w["norm1"], 1e-5)
        q, k, v = ((y @ w[name].T).reshape(1, TOKENS, -1, WIDTH).transpose(0, 2, 1, 3) for name in "qkv")
        q, k = (mx.fast.rope(each, WIDTH, traditional=False, base=1e5, scale=1.0, offset=0) for each in (q, k))
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=WIDTH**-0.5, mask="causal")
        x = x + y.transpose(0, 2, 1, 3).reshape(1, TOKENS, -1) @ w["o"].T
        y = mx.fast.rms_norm(x, w["norm2"], 1e-5)
        x = x + (nn.silu(y @ w["gate"].T) * (y @ w["up"].T)) @ w["down"].T
    return mx.fast.rms_norm(x, weights["norm"], 1e-5) @ weights["embed"].T


def loss(weights: Any, ids: Any) -> Any:
    return nn.losses.cross_entropy(forward(weights, ids)[:, :-1], ids[:, 1:], reduction="mean")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--iterations", type=int, default=20)
    options.add_argument("--task", choices=["infer", "train"], default="infer")
    chosen = options.parse_args()
    norms = {"norm1": mx.ones(HIDDEN), "norm2": mx.ones(HIDDEN)}
    layers = [{name: mx.random.normal(shape) * 0.02 for name, shape in SHAPES.items()} | norms for _ in range(LAYERS)]
    weights = {"embed": mx.random.normal((VOCABULARY, HIDDEN)) * 0.02, "layers": layers, "norm": mx.ones(HIDDEN)}
    ids = mx.random.randint(0, VOCABULARY, (1, TOKENS))
    mx.eval(weights, ids)
    run = mx.compile(mx.value_and_grad(loss) if chosen.task == "train" else forward)
    samples_ns, user_s = [], []
    for _ in range(chosen.iterations + 1):  # the first compiles and is not counted
        cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter_ns()
        mx.eval(run(weights, ids))
        samples_ns.append(time.perf_counter_ns() - start)
        user_s.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu)
    print(json.dumps({"task": chosen.task, "samples_ns": samples_ns[1:], "user_s": user_s[1:]}))


if __name__ == "__main__":
    main()
