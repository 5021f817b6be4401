"""How many floating-point operations a case takes, counted on the canonical module without executing it.

    count.py SPEC.json

`SPEC.json` is `{"architecture", "config", "shapes", "task", "new_tokens"}`; prints `{"flops": N}`. Counted by
`torch.utils.flop_counter`: matrix products and convolutions, a multiplication and an addition as two. Tensors are on
the device `meta`, which has shapes and no values; where a library looks at values all the same, they are zeros on the
CPU. Exit 2 and one line `error: ...` when it cannot be counted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from runpy import run_path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    import msgspec  # noqa: PLC0415 (after the bootstrap)

    from arena_py.contract.adapter import RunnerError  # noqa: PLC0415 (as above)

    try:
        (path,) = arguments
        spec = msgspec.json.decode(Path(path).read_bytes())
        sys.stdout.write(msgspec.json.encode({"flops": count(spec)}).decode() + "\n")
    except (RunnerError, RuntimeError, NotImplementedError, ValueError, OSError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        sys.stderr.write(f"error: {words[0]}\n")
        return 2
    return 0


def count(spec: dict[str, Any]) -> int:
    """The operations of one execution.

    Raises:
        RunnerError: `unsupported` or `invalid_inputs`.
    """
    try:
        return _counted(spec, "meta")
    except RuntimeError:  # `Tensor.item() cannot be called on meta tensors`
        return _counted(spec, "cpu")


def _counted(spec: dict[str, Any], device: str) -> int:
    import torch  # noqa: PLC0415 (seconds)
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415 (as above)
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (as above)

    from arena_py.models import define  # noqa: PLC0415 (after the bootstrap)
    from arena_py.models.inputs import Ids, named  # noqa: PLC0415 (as above)

    architecture: Any = define(spec["architecture"], spec["config"])
    sizes = architecture.sizes(spec["shapes"])
    task = spec["task"]
    with torch.device("meta"):
        module = architecture.build()
    if device != "meta":
        module.to_empty(device=device)
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.zero_()
    architecture.complete(module, exact=False)
    module.to(device)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in architecture.frozen)
    inputs = {}
    for each in named(architecture.inputs, task):
        shape = [sizes[size] if isinstance(size, str) else size for size in each.shape]
        dtype = torch.int64 if isinstance(each.values, Ids) else torch.float32
        inputs[each.name] = torch.zeros(shape, dtype=dtype, device=device)
    # Attention written out: its fused kernels are not all known to the counter.
    trains = task in ("train", "step")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.set_grad_enabled(trains):
        if task == "decode":
            architecture.decode(module, inputs, spec["new_tokens"], lambda: None)
        else:
            output = architecture.forward(module, inputs)
            if trains:
                architecture.loss(output, inputs).backward()
    return int(counter.get_total_flops())


if __name__ == "__main__":
    run_path(str(PACKAGE / "worker.py"))["bootstrap"]()
    sys.exit(main(sys.argv[1:]))
