"""A graph that the runner exported, in the loop of `onnxruntime_perf_test`: inputs bound, run, repeat.

    artifacts/env/onnxruntime/bin/python benchmarks/direct_onnxruntime.py \
        GRAPH_FOLDER WEIGHTS.safetensors INPUTS.safetensors --threads 2 --iterations 5

Nothing of Arena is imported. One execution is a warm-up and does not count. Prints one line of JSON: nanoseconds
of wall clock and seconds of user CPU for each execution.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import onnxruntime
from safetensors.numpy import load_file

value = onnxruntime.OrtValue.ortvalue_from_numpy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graph", type=Path, help="a folder of artifacts/graphs")
    parser.add_argument("weights", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--spin", action="store_true", help="let idle threads spin, as is ONNX Runtime's default")
    arguments = parser.parse_args()
    table = json.loads((arguments.graph / "graph.json").read_text())
    weights = {name: value(array) for name, array in load_file(arguments.weights).items() if name in table["stored"]}
    inputs = {name: value(array) for name, array in load_file(arguments.inputs).items() if name in table["inputs"]}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(arguments.spin)))
    options.log_severity_level = 3
    if table["outputs"][0] == "loss":
        inputs |= weights
    else:
        options.add_external_initializers(list(weights), list(weights.values()))
    session = onnxruntime.InferenceSession(
        str(arguments.graph / "graph.onnx"), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    for name, each in inputs.items():
        binding.bind_ortvalue_input(name, each)
    for name in table["outputs"]:
        binding.bind_output(name)
    samples_ns, user_s = [], []
    for _ in range(arguments.iterations + 1):
        cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter_ns()
        session.run_with_iobinding(binding)
        samples_ns.append(time.perf_counter_ns() - start)
        user_s.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu)
    print(json.dumps({"samples_ns": samples_ns[1:], "user_s": user_s[1:]}))


if __name__ == "__main__":
    main()
