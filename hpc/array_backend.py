"""The array module, chosen once: CuPy where there is a CUDA device, NumPy (with compiled CPU code) elsewhere."""

from types import ModuleType
from typing import Any

import numpy as np


class DeviceError(ValueError):
    """The device that was asked for is not there."""


def has_gpu() -> bool:
    """Say whether CuPy is installed and sees a CUDA device."""
    try:
        import cupy

        return bool(cupy.cuda.runtime.getDeviceCount() > 0)
    except Exception:
        # CuPy raises its own errors for a missing or too old driver; each of them means "no device".
        return False


def array_module(device: str = "auto", local_rank: int = 0) -> ModuleType:
    """
    Return the module that computes: `cupy` or `numpy`.

    Parameters
    ----------
    device
        "auto" (a GPU where there is one), "cpu" or "gpu".
    local_rank
        Rank on this node; ranks share the node's GPUs evenly, in turn.

    Raises
    ------
    DeviceError
        A GPU was asked for and none can be used.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise DeviceError(f"expected device auto, cpu or gpu, got {device!r}")
    if device == "cpu" or (device == "auto" and not has_gpu()):
        return np
    if not has_gpu():
        raise DeviceError(
            "device gpu was asked for, but CuPy finds no CUDA device; "
            "use --device auto or cpu, or see `python -m hpc.doctor`"
        )
    import cupy

    cupy.cuda.Device(local_rank % cupy.cuda.runtime.getDeviceCount()).use()
    return cupy  # type: ignore[no-any-return]


def to_numpy(array: Any) -> np.ndarray:
    """Return `array` in host memory, whichever module it belongs to."""
    return array if isinstance(array, np.ndarray) else array.get()  # type: ignore[no-any-return]
