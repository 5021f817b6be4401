"""SmolLM2-135M in plain JAX, without Arena: what the JAX row of a comparison is held against.

    artifacts/env/jax/bin/python benchmarks/direct_jax.py [--iterations N] [--task infer|train] [--threads N]

Prints one line of JSON: seconds of user CPU and nanoseconds of wall clock for each execution.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from typing import Any

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, GROUPS, WIDTH, TOKENS = 49152, 576, 1536, 30, 9, 3, 64, 128


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--iterations", type=int, default=20)
    options.add_argument("--task", choices=["infer", "train"], default="infer")
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    os.environ["NPROC"] = str(chosen.threads)  # read when XLA makes its threads
    import jax  # noqa: PLC0415 (after the environment)
    import jax.numpy as jnp  # noqa: PLC0415 (as above)

    jax.config.update("jax_default_matmul_precision", "highest")
    draw = lambda i, *shape: jax.random.normal(jax.random.key(i), shape) * 0.02  # noqa: E731
    shapes = {
        "q": (HIDDEN, HEADS * WIDTH), "k": (HIDDEN, GROUPS * WIDTH), "v": (HIDDEN, GROUPS * WIDTH),
        "o": (HEADS * WIDTH, HIDDEN), "gate": (HIDDEN, INNER), "up": (HIDDEN, INNER), "down": (INNER, HIDDEN),
    }  # fmt: skip
    layer = {name: draw(i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    layers = [jax.tree.map(jnp.copy, layer) for _ in range(LAYERS)]
    weights = {"embed": draw(9, VOCABULARY, HIDDEN), "layers": layers}
    ids = jax.random.randint(jax.random.key(1), (1, TOKENS), 0, VOCABULARY)
    angles = jnp.arange(TOKENS)[:, None, None] * 1e5 ** (-jnp.arange(0, WIDTH, 2) / WIDTH)

    def norm(x: Any) -> Any:
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)

    def rotate(x: Any) -> Any:
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate(
            (a * jnp.cos(angles) - b * jnp.sin(angles), b * jnp.cos(angles) + a * jnp.sin(angles)), -1
        )

    def forward(weights: Any, ids: Any) -> Any:
        x = weights["embed"][ids]
        for w in weights["layers"]:
            y = norm(x)
            q, k, v = ((y @ w[name]).reshape(1, TOKENS, -1, WIDTH) for name in "qkv")
            x += jax.nn.dot_product_attention(rotate(q), rotate(k), v, is_causal=True).reshape(1, TOKENS, -1) @ w["o"]
            y = norm(x)
            x += (jax.nn.silu(y @ w["gate"]) * (y @ w["up"])) @ w["down"]
        return norm(x) @ weights["embed"].T

    def loss(weights: Any, ids: Any) -> Any:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(forward(weights, ids)[:, :-1]), ids[:, 1:, None], -1)
        return -chosen.mean()

    run = jax.jit(jax.value_and_grad(loss) if chosen.task == "train" else forward)
    samples_ns, user_s = [], []
    for _ in range(chosen.iterations + 1):  # the first compiles and is not counted
        cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter_ns()
        jax.block_until_ready(run(weights, ids))
        samples_ns.append(time.perf_counter_ns() - start)
        user_s.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu)
    print(json.dumps({"task": chosen.task, "samples_ns": samples_ns[1:], "user_s": user_s[1:]}))


if __name__ == "__main__":
    main()
