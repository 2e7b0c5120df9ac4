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


def array_module(device: str = "auto", local_rank: int = 0, memory_limit_gb: float | None = None) -> ModuleType:
    """
    Return the module that computes: `cupy` or `numpy`.

    Parameters
    ----------
    device
        "auto" (a GPU where there is one), "cpu" or "gpu".
    local_rank
        Rank on this node; ranks share the node's GPUs evenly, in turn.
    memory_limit_gb
        Most device memory that this process may hold; an allocation beyond it fails.

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
    if memory_limit_gb is not None:
        cupy.get_default_memory_pool().set_limit(size=int(memory_limit_gb * 1e9))
    return cupy  # type: ignore[no-any-return]


def to_numpy(array: Any) -> np.ndarray:
    """Return `array` in host memory, pinned if it comes from a GPU, whichever module it belongs to."""
    if isinstance(array, np.ndarray):
        return array
    import cupyx

    return array.get(out=cupyx.empty_pinned(array.shape, array.dtype))  # type: ignore[no-any-return]
