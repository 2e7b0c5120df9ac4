"""Height maps with noise, brought near to the surface: noise and background taken away, edges kept."""

from dataclasses import dataclass

import numpy as np

WINDOW_PX = 5
"""Edge of the median's window; a Gaussian would widen every outline by its width."""
BACKGROUND_SIGMAS = 5.0
"""Filtered heights below so many standard deviations of the filtered noise are substrate."""
ERROR_SIGMAS = 1.5
"""A surface may lie so many standard deviations of the filtered noise lower than it seems."""


@dataclass(frozen=True)
class CleanViews:
    """Height maps to register and to carve with."""

    heights_nm: np.ndarray
    """float32 `(view, row, col)`, 0 on the substrate"""
    pixel_size_nm: float
    height_error_nm: float
    """how far heights may be off"""


def clean_views(images_nm: np.ndarray, pixel_size_nm: float, noise_sigma_nm: float) -> CleanViews:
    """
    Filter by a median, put the substrate to 0, average two by two pixels (where an image has an even number).

    The median of n normal values has a variance of pi / (2 n) of theirs.

    Parameters
    ----------
    images_nm
        float `(view, row, col)`: levelled images, the substrate at 0 apart from noise.
    pixel_size_nm
        Edge of a pixel.
    noise_sigma_nm
        Standard deviation of a pixel's noise; 0 changes nothing.
    """
    from scipy.ndimage import median_filter

    if noise_sigma_nm == 0:
        return CleanViews(images_nm, pixel_size_nm, 0.0)
    left_nm = noise_sigma_nm * np.sqrt(np.pi / 2) / WINDOW_PX
    filtered = median_filter(images_nm, size=(1, WINDOW_PX, WINDOW_PX))
    is_body = np.stack([_largest_part(view > BACKGROUND_SIGMAS * left_nm) for view in filtered])
    heights_nm, factor = _averaged(np.where(is_body, filtered, 0))
    return CleanViews(heights_nm.astype(np.float32), pixel_size_nm * factor, ERROR_SIGMAS * left_nm)


def _averaged(heights_nm: np.ndarray) -> tuple[np.ndarray, int]:
    """Average what is above the substrate in blocks of two by two, if at least half of a block is."""
    size = heights_nm.shape[1]
    if size % 2:
        return heights_nm, 1
    blocks = heights_nm.reshape(len(heights_nm), size // 2, 2, size // 2, 2)
    num_hits = (blocks > 0).sum(axis=(2, 4))
    means = blocks.sum(axis=(2, 4)) / np.maximum(num_hits, 1)  # (view, row / 2, col / 2)
    return np.where(num_hits >= 2, means, 0), 2


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a mask."""
    from scipy.ndimage import label

    labels, num_parts = label(mask)
    if num_parts == 0:
        return mask
    sizes = np.bincount(labels.reshape(-1))[1:]
    return np.asarray(labels == 1 + int(sizes.argmax()))
