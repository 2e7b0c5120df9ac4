"""Grey dilation by a tip on the CPU (Numba); the CUDA twin is ``kernels/tip.cu``."""

from __future__ import annotations

import numpy
from numba import njit, prange


def dilate(height_nm: numpy.ndarray, offsets: numpy.ndarray, tip_height_nm: numpy.ndarray) -> numpy.ndarray:
    """Return the largest height minus tip over all offsets, at least 0, float32 ``(view, row, col)``."""
    image_nm = numpy.empty_like(height_nm)
    _dilate(height_nm, height_nm.max(axis=2), offsets, tip_height_nm, image_nm)
    return image_nm


@njit(parallel=True, cache=True)
def _dilate(
    height_nm: numpy.ndarray,
    row_highest_nm: numpy.ndarray,
    offsets: numpy.ndarray,
    tip_height_nm: numpy.ndarray,
    image_nm: numpy.ndarray,
) -> None:
    """Take row by row, so that the loop over columns is one of vectors; rows that cannot matter are left out."""
    num_views, num_rows, num_cols = height_nm.shape
    for view_row in prange(num_views * num_rows):
        view, row = view_row // num_rows, view_row % num_rows
        image_row = image_nm[view, row]
        image_row[:] = 0
        for offset in range(len(offsets)):
            other = row + offsets[offset, 0]
            if 0 <= other < num_rows and row_highest_nm[view, other] > tip_height_nm[offset]:
                shift, tip_nm = offsets[offset, 1], tip_height_nm[offset]
                first, end = max(0, -shift), min(num_cols, num_cols - shift)
                source = height_nm[view, other, first + shift : end + shift]
                target = image_row[first:end]
                for col in range(len(target)):
                    target[col] = max(target[col], source[col] - tip_nm)
