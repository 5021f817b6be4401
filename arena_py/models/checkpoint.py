"""Reading a weights file into a module that was built without memory of its own.

Each tensor is read straight into the memory that the module keeps, so a model is in memory once. (Mapping the file
would keep its pages beside what is widened or moved, and would count them in the peak.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from arena_py.architectures import weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What a weights file may hold."""


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
    with weights.opened(path) as file:
        for name, meta in list(stored_tensors(module)):
            stored = file.find(name, tuple(meta.shape))
            values = torch.empty(meta.shape, dtype=TYPES[stored.dtype])
            file.fill(stored, memoryview(values.reshape(-1).view(torch.uint8).numpy()))
            if values.numel():
                low, high = torch.aminmax(values)
                weights.require_finite(name, low.item(), high.item())
            _assign(module, name, values.to(device=device, dtype=dtype))
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and not buffer.is_floating_point():
            _assign(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))


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
