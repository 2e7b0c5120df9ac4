"""Grey dilation by a tip on the GPU: starts the kernel of ``kernels/tip.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from hpc.cuda_source import Kernels

SOURCE_PATH = Path(__file__).parent / "kernels" / "tip.cu"


def dilate(height_nm: Any, offsets: numpy.ndarray, tip_height_nm: numpy.ndarray, xp: ModuleType) -> Any:
    """Return the largest height minus tip over all offsets, at least 0, float32 ``(view, row, col)``."""
    image_nm = xp.empty_like(height_nm)
    arguments = (
        height_nm,
        xp.ascontiguousarray(height_nm.max(axis=(1, 2))),
        *(numpy.int32(size) for size in height_nm.shape),
        xp.asarray(offsets),
        xp.asarray(tip_height_nm),
        numpy.int32(len(offsets)),
        image_nm,
    )
    Kernels(SOURCE_PATH).start("dilate", height_nm.size, arguments)
    return image_nm
