"""Where the results of an execution land in host memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from arena_py.frameworks.onnx.sessions import Target

LIBRARIES = {"CUDAExecutionProvider": "*onnxruntime_providers_cuda.*"}
"""The library of a provider, beside ONNX Runtime's own, that tells of its host memory once it is registered."""


class Landing:
    """Host memory for the results of a target that is not the host; kept, so that each execution writes to the same.

    On CUDA it is page-locked, by ONNX Runtime's own allocator: 590 MB come in 14 ms there, and in 66 ms to other memory
    that is kept. `OrtValue.numpy` takes new memory each time, whose pages are found while it is written: 94 to 426 ms
    (an H200).
    """

    def __init__(self, target: Target) -> None:
        self._memory = _page_locked(target.provider)
        self._kept: dict[str, onnxruntime.OrtValue] = {}

    def fetch(self, values: dict[str, onnxruntime.OrtValue]) -> dict[str, onnxruntime.OrtValue]:
        """Copy float32 values of a device, by name, and return them in host memory; valid until the next call.

        A name has the same shape in each call.
        """
        if self._memory is None:
            return {name: onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy()) for name, value in values.items()}
        for name, value in values.items():
            if name not in self._kept:
                self._kept[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    value.shape(), np.float32, memory_info=self._memory
                )
        landed = {name: self._kept[name] for name in values}
        onnxruntime.copy_tensors(list(values.values()), list(landed.values()))
        return landed


def _page_locked(provider: str) -> onnxruntime.capi.onnxruntime_pybind11_state.OrtMemoryInfo | None:
    """The provider's host memory that its device reaches by itself; `None` where it has none."""
    if provider not in LIBRARIES:
        return None
    if not _devices(provider):
        for library in (Path(onnxruntime.__file__).parent / "capi").glob(LIBRARIES[provider]):
            onnxruntime.register_execution_provider_library(f"{provider} of Arena", str(library))
    kinds = (each.memory_info(onnxruntime.OrtDeviceMemoryType.HOST_ACCESSIBLE) for each in _devices(provider))
    return next(kinds, None)


def _devices(provider: str) -> list[onnxruntime.OrtEpDevice]:
    return [each for each in onnxruntime.get_ep_devices() if each.ep_name == provider]
