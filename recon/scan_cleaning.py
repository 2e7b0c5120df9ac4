"""
Height maps as a real scan gives them, brought near to the surface: noise, tip and background taken away.

The tip's share is removed by grey erosion (Villarrubia, J. Res. NIST 102, 425, 1997): the result touches the surface
wherever the tip did, and lies above it elsewhere.
"""

import numpy as np

from afmsim.tip import Tip, scan

SMOOTHING_NM = 0.15
"""Width of the Gaussian that noise is smoothed with; finer relief is below what a tip resolves."""
BACKGROUND_SIGMAS = 4.0
"""Smoothed heights below so many standard deviations of the smoothed noise are substrate."""


def noisy_scans(heights_nm: np.ndarray, pixel_size_nm: float, tip: Tip, noise_sigma_nm: float, seed: int) -> np.ndarray:
    """Return what a tip and a noisy instrument make of surfaces, float32 `(view, row, col)`."""
    noise_nm = np.random.default_rng(seed).normal(0, noise_sigma_nm, heights_nm.shape)
    return (scan(heights_nm, tip, pixel_size_nm) + noise_nm).astype(np.float32)


def clean_scans(images_nm: np.ndarray, pixel_size_nm: float, tip: Tip, noise_sigma_nm: float) -> np.ndarray:
    """
    Return surface heights, 0 on the substrate.

    Parameters
    ----------
    images_nm
        float32 `(view, row, col)`: levelled scans, the substrate at 0 apart from noise.
    pixel_size_nm
        Edge of a pixel.
    tip
        The tip that took them.
    noise_sigma_nm
        Standard deviation of the noise of a pixel.
    """
    from scipy.ndimage import gaussian_filter

    sigma_px = SMOOTHING_NM / pixel_size_nm if noise_sigma_nm > 0 else 0.0
    smooth = gaussian_filter(images_nm, (0, sigma_px, sigma_px)) if sigma_px else images_nm
    surfaces = _eroded(smooth, tip, pixel_size_nm)
    threshold_nm = BACKGROUND_SIGMAS * smoothed_noise_nm(noise_sigma_nm, pixel_size_nm)
    return np.stack([np.where(_largest_part(one > threshold_nm), one, 0) for one in surfaces]).astype(np.float32)


def smoothed_noise_nm(noise_sigma_nm: float, pixel_size_nm: float) -> float:
    """Return the standard deviation of white noise after smoothing: sigma / (2 sqrt(pi) width) in pixels."""
    width_px = SMOOTHING_NM / pixel_size_nm
    return noise_sigma_nm * min(1.0, 1 / (2 * np.sqrt(np.pi) * width_px))


def _eroded(images_nm: np.ndarray, tip: Tip, pixel_size_nm: float) -> np.ndarray:
    """Erode by the tip: dilation of what is turned upside down; nothing beyond the image holds it down."""
    top_nm = images_nm.max()
    return top_nm - scan(np.maximum(top_nm - images_nm, 0), tip, pixel_size_nm)


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a mask, without its holes."""
    from scipy.ndimage import binary_fill_holes, label

    labels, num_parts = label(mask)
    if num_parts == 0:
        return mask
    sizes = np.bincount(labels.reshape(-1))[1:]
    return binary_fill_holes(labels == 1 + int(sizes.argmax()))
