"""Height maps with noise or under a blunt tip, brought near to the surface: what hides it taken away, edges kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from afmsim.tip import Tip, scan
from recon.poses.tip_erosion import half_resolution, tip_images

if TYPE_CHECKING:
    from recon.poses.scan_restorer import ScanRestorer

WINDOW_PX = 5
"""Edge of the median's window; a Gaussian would widen every outline by its width."""
BACKGROUND_SIGMAS = 5.0
"""Filtered heights below so many standard deviations of the filtered noise are substrate."""
ERROR_SIGMAS = 1.5
"""A surface may lie so many standard deviations of the filtered noise lower than it seems."""
LEAST_PROBABILITY = 0.3
"""What the network takes for body with less than this probability is substrate."""
RESTORED_ERROR_NM = 0.15
"""Restored heights may be off by so much."""


@dataclass(frozen=True)
class CleanViews:
    """Height maps to register and to carve with."""

    heights_nm: np.ndarray
    """float32 `(view, row, col)`, 0 on the substrate"""
    pixel_size_nm: float
    height_error_nm: float
    """how far heights may be off"""
    upper_nm: np.ndarray | None = None
    """float32 `(view, row, col)`: no surface lies above; none if there was no tip, where that is the heights"""


@dataclass(frozen=True)
class ScanConditions:
    """How a microscope makes images of height maps, and the network that undoes what its tip does."""

    noise_sigma_nm: float = 0.0
    """standard deviation of each pixel's noise"""
    tip: Tip | None = None
    """none: infinitely sharp"""
    restorer: "ScanRestorer | None" = None
    """needed if there is a tip"""


def scanned_views(heights_nm: np.ndarray, pixel_size_nm: float, conditions: ScanConditions, seed: int) -> CleanViews:
    """Take images of clean height maps `(view, row, col)` and clean them; a seed has the same noise each time."""
    images_nm = heights_nm
    if conditions.tip is not None:
        images_nm = scan(heights_nm, conditions.tip, pixel_size_nm)
    images_nm = _with_noise(images_nm, conditions.noise_sigma_nm, seed)
    if conditions.tip is None:
        return clean_views(images_nm, pixel_size_nm, conditions.noise_sigma_nm)
    return without_tip(half_resolution(images_nm), 2 * pixel_size_nm, conditions)


def quickly_scanned_views(
    heights_nm: np.ndarray, pixel_size_nm: float, conditions: ScanConditions, seed: int
) -> CleanViews:
    """Do about the same, for training: a tip scans height maps of half the resolution, sixteen times as fast."""
    if conditions.tip is None:
        return scanned_views(heights_nm, pixel_size_nm, conditions, seed)
    return without_tip(*quick_images(heights_nm, pixel_size_nm, conditions, seed), conditions)


def quick_images(
    heights_nm: np.ndarray, pixel_size_nm: float, conditions: ScanConditions, seed: int
) -> tuple[np.ndarray, float]:
    """Return images of half the resolution, of the noise that means of two by two pixels have, and their pixel size."""
    half_nm, factor = averaged_body(heights_nm)
    images_nm = scan(half_nm, required_tip(conditions), factor * pixel_size_nm)
    return _with_noise(images_nm, conditions.noise_sigma_nm / factor, seed), factor * pixel_size_nm


def _with_noise(images_nm: np.ndarray, noise_sigma_nm: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, images_nm.shape).astype(np.float32)
    return np.asarray(images_nm + noise_sigma_nm * noise)


def without_tip(images_nm: np.ndarray, pixel_size_nm: float, conditions: ScanConditions) -> CleanViews:
    """Bring images under a blunt tip near to the surface: erode them; the network says what is body and how high."""
    from recon.poses.scan_restorer import restored_heights

    if conditions.restorer is None:
        raise ValueError("images under a tip need a restorer; train one with python -m recon.train_scan_restorer")
    images = tip_images(images_nm, pixel_size_nm, required_tip(conditions), conditions.noise_sigma_nm > 0)
    heights_nm = restored_heights(
        conditions.restorer, images.image_nm, images.upper_nm, pixel_size_nm, LEAST_PROBABILITY
    )
    return CleanViews(heights_nm, pixel_size_nm, RESTORED_ERROR_NM, images.upper_nm)


def required_tip(conditions: ScanConditions) -> Tip:
    """Return the tip; there must be one."""
    if conditions.tip is None:
        raise ValueError("got scan conditions without a tip; name one, as by --tip-radius-nm")
    return conditions.tip


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
    heights_nm, factor = averaged_body(np.where(is_body, filtered, 0))
    return CleanViews(heights_nm.astype(np.float32), pixel_size_nm * factor, ERROR_SIGMAS * left_nm)


def averaged_body(heights_nm: np.ndarray) -> tuple[np.ndarray, int]:
    """Average what is above the substrate in blocks of two by two, if at least half of a block is; return the edge."""
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
