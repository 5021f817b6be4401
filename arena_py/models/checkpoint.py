"""Reading a weights file into a module that was built without memory of its own.

Each tensor is read straight into the memory that the module keeps, so a model is in memory once. (Mapping the file
would keep its pages beside what is widened or moved, and would count them in the peak.)
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What a weights file may hold; each widens to float32 exactly."""


def stored_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and tensor of everything that a checkpoint of this module holds, tied parameters once.

    Counters, such as the number of batches that a batch norm has seen, are left out: nothing here reads them.
    """
    yield from module.named_parameters()
    kept = module.state_dict().keys()
    for name, buffer in module.named_buffers():
        if name in kept and buffer.is_floating_point():
            yield name, buffer


def load(module: nn.Module, path: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Give every stored tensor of `module` its values from the file, in `dtype` on `device`.

    Raises:
        RunnerError: `invalid_weights` when the file is unreadable, or a tensor is missing, of the wrong shape or type,
            or has a value that is not finite; the message names it.
    """
    try:
        with safe_open(path, framework="pt"):  # checks the header against the file
            pass
        with path.open("rb", buffering=0) as file:
            _load(module, file, dtype, device)
    except (OSError, SafetensorError) as error:
        raise RunnerError("invalid_weights", f"weights file {path} cannot be read: {error}") from error
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and not buffer.is_floating_point():
            _assign(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))


def _load(module: nn.Module, file: BinaryIO, dtype: torch.dtype, device: torch.device) -> None:
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    for name, meta in list(stored_tensors(module)):
        entry = header.get(name)
        if entry is None:
            raise RunnerError("invalid_weights", f"tensor `{name}` is missing")
        if entry["shape"] != list(meta.shape):
            raise RunnerError(
                "invalid_weights", f"tensor `{name}` has shape {entry['shape']}, expected {list(meta.shape)}"
            )
        if entry["dtype"] not in STORED:
            raise RunnerError("invalid_weights", f"tensor `{name}` is {entry['dtype']}, expected {', '.join(STORED)}")
        values = torch.empty(meta.shape, dtype=STORED[entry["dtype"]])
        file.seek(8 + size + entry["data_offsets"][0])
        _fill(file, name, values)
        _require_finite(name, values)
        _assign(module, name, values.to(device=device, dtype=dtype))


def _fill(file: BinaryIO, name: str, values: torch.Tensor) -> None:
    view = memoryview(values.reshape(-1).view(torch.uint8).numpy())
    while view:
        count = file.readinto(view)  # type: ignore[attr-defined]  # a raw file may fill less than was asked for
        if not count:
            raise RunnerError("invalid_weights", f"tensor `{name}` is cut off by the end of the file")
        view = view[count:]


def _require_finite(name: str, values: torch.Tensor) -> None:
    if not values.numel():
        return
    low, high = torch.aminmax(values)  # either is NaN when any value is
    if not (math.isfinite(low.item()) and math.isfinite(high.item())):
        raise RunnerError("invalid_weights", f"tensor `{name}` has a value that is not finite")


def _assign(module: nn.Module, name: str, values: torch.Tensor) -> None:
    """Put `values` in the place of the parameter or buffer `name`, and of every other name that is tied to it."""
    owner, _, leaf = name.rpartition(".")
    old = getattr(module.get_submodule(owner), leaf)
    new = torch.nn.Parameter(values, requires_grad=False) if isinstance(old, torch.nn.Parameter) else values
    for child in module.modules():
        for table in (child._parameters, child._buffers):
            for key, tensor in table.items():
                if tensor is old:
                    table[key] = new
