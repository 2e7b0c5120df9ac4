"""The distance grids of views on the GPU: starts the kernels of `kernels/view_stack.cu`."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hpc.cuda_source import Kernels

SOURCE_PATH = Path(__file__).parent / "kernels" / "view_stack.cu"


def allowed_distances(
    heights: np.ndarray,
    pixels_per_cell: int,
    shape: tuple[int, int, int],
    margin: int,
    weights: np.ndarray,
    least_share: float,
    width: float,
    xp: ModuleType,
) -> Any:
    """
    Return the signed distances of `recon.poses.view_stack.allowed_distances`, float32 `(view, z, y, x)`, on the GPU.

    Parameters
    ----------
    shape
        Cells `(z, y, x)` of each grid, of which `margin` lie around the image and below the substrate.
    weights, least_share, width
        The Gaussian by which shares of cells are blurred, float64 `(weight,)`, the least share that is told from
        none, and the width by which a share says a distance.
    """
    kernels = Kernels(SOURCE_PATH)
    share = xp.empty((len(heights), *shape), dtype=np.float32)
    blurred = xp.empty_like(share)
    sizes = (len(heights), heights.shape[1], pixels_per_cell, shape[2] - 2 * margin, margin, shape[0])
    kernels.start(
        "fill_cells",
        share.size,
        (xp.ascontiguousarray(xp.asarray(heights)), *(np.int32(size) for size in sizes), share),
    )
    num_values, gaussian = np.int32(share.size), (xp.asarray(weights), np.int32(len(weights) // 2))
    for axis in range(3):
        along = (np.int32(np.prod(shape[axis + 1 :])), np.int32(shape[axis]))
        kernels.start("blur_axis", share.size, (share, num_values, *along, *gaussian, blurred))
        share, blurred = blurred, share
    kernels.start("invert_shares", share.size, (share, num_values, np.float32(least_share), np.float64(width)))
    return share
