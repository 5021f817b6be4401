"""SmolLM2-135M through transformers alone, without Arena: what the PyTorch row of a comparison is held against.

    artifacts/env/pytorch/bin/python benchmarks/direct_pytorch.py [--iterations N] [--task infer|train] [--device cuda]
        [--batch 1] [--seq 128]

On another device an execution begins with ids in host memory and ends with the logits, or every gradient, there, in
page-locked memory that is kept.

Prints one line of JSON: seconds of user CPU and nanoseconds of wall clock for each execution.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0}, "tie_word_embeddings": True,
}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--iterations", type=int, default=20)
    options.add_argument("--task", choices=["infer", "train"], default="infer")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--seq", type=int, default=128)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval().to(chosen.device)
    ids = torch.randint(CONFIG["vocab_size"], (chosen.batch, chosen.seq))
    landed: dict[int, torch.Tensor] = {}
    samples_ns, user_s = [], []
    for _ in range(chosen.iterations + 1):  # the first is not counted
        cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter_ns()
        given = ids.to(chosen.device)
        if chosen.task == "train":
            model.zero_grad(set_to_none=True)
            model(input_ids=given, labels=given, use_cache=False).loss.backward()
            land([parameter.grad for parameter in model.parameters()], landed)
        else:
            with torch.inference_mode():
                land([model(input_ids=given, use_cache=False).logits], landed)
        samples_ns.append(time.perf_counter_ns() - start)
        user_s.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu)
    print(json.dumps({"task": chosen.task, "samples_ns": samples_ns[1:], "user_s": user_s[1:]}))


def land(results: list[torch.Tensor], landed: dict[int, torch.Tensor]) -> None:
    """Copy what a device computed to the host, all of it at once."""
    if results[0].device.type == "cpu":
        return
    for index, values in enumerate(results):
        if index not in landed:
            landed[index] = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        landed[index].copy_(values, non_blocking=True)
    torch.accelerator.synchronize()


if __name__ == "__main__":
    main()
