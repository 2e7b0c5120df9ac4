"""
What images under a blunt tip prove: no surface lies above the image eroded by the tip.

An image is the dilation of the surface by the tip turned over. Its erosion by the tip is never below the surface, and
equal to it wherever the tip touched (J. S. Villarrubia, J. Res. NIST 102, 425, 1997). Erosion takes minima, which noise
lowers, so that noise is smoothed before: nothing that a tip scans is sharper than the tip.
"""

from dataclasses import dataclass

import numpy as np

from afmsim.tip import Tip, scan

SMOOTHING_NM, LEAST_SMOOTHING_PX = 0.1, 0.5
"""Width of the Gaussian that smooths noise."""


@dataclass(frozen=True)
class TipImages:
    """Images under a tip with the noise smoothed, and what they prove."""

    image_nm: np.ndarray
    """float32 `(view, row, col)`"""
    upper_nm: np.ndarray
    """float32 `(view, row, col)`: no surface lies above"""
    pixel_size_nm: float


def tip_images(image_nm: np.ndarray, pixel_size_nm: float, tip: Tip, is_noisy: bool) -> TipImages:
    """Smooth images `(view, row, col)` in nm, if there is noise, and erode them by the tip that took them."""
    from scipy.ndimage import gaussian_filter

    if is_noisy:
        width_px = max(SMOOTHING_NM / pixel_size_nm, LEAST_SMOOTHING_PX)
        image_nm = gaussian_filter(image_nm, (0, width_px, width_px))
    image_nm = np.maximum(image_nm, 0).astype(np.float32)
    return TipImages(image_nm, upper_bound(image_nm, tip, pixel_size_nm), pixel_size_nm)


def upper_bound(image_nm: np.ndarray, tip: Tip, pixel_size_nm: float) -> np.ndarray:
    """
    Erode images by a tip: the least of `image(pixel + offset) + tip height(offset)`.

    Turned upside down, that is a scan. What lies around an image bounds nothing.

    Parameters
    ----------
    image_nm
        float `(view, row, col)`, at least 0, the substrate at 0.
    tip
        The tip that took them, the same turned over.
    pixel_size_nm
        Edge of a pixel.

    Returns
    -------
    numpy.ndarray
        float32 `(view, row, col)`, at least 0.
    """
    highest_nm = np.float32(image_nm.max(initial=0))
    return np.asarray(highest_nm - scan(highest_nm - image_nm, tip, pixel_size_nm), dtype=np.float32)


def half_resolution(images: np.ndarray) -> np.ndarray:
    """
    Return the means of two by two pixels `(view, row / 2, col / 2)`.

    Raises
    ------
    ValueError
        The number of rows or columns is odd.
    """
    num_views, num_rows, num_cols = images.shape
    if num_rows % 2 or num_cols % 2:
        raise ValueError(
            f"got images of {num_rows} x {num_cols} pixels, expected even numbers; cut off a row or column"
        )
    return np.asarray(images.reshape(num_views, num_rows // 2, 2, num_cols // 2, 2).mean(axis=(2, 4)))
