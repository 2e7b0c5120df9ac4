"""Whether a predicted probability means what it says: of voxels at 0.7, seven in ten should be inside."""

from dataclasses import dataclass

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Voxels whose probability lies in one bin."""

    low: float
    high: float
    mean_probability: float
    """not a number where there are no voxels"""
    true_share: float
    num_voxels: int


def calibration_sums(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """
    Sum up the voxels of one prediction by bins of equal width.

    Parameters
    ----------
    probability
        float `(z, y, x)` in 0..1; 1 belongs to the last bin.
    truth
        0/1 `(z, y, x)`.

    Returns
    -------
    numpy.ndarray
        float64 `(bin, 3)`: number of voxels, sum of their probabilities, number of them inside.
    """
    flat = probability.reshape(-1).astype(np.float64)
    which = np.minimum((flat * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    weights = (None, flat, truth.reshape(-1) > 0)
    return np.stack([np.bincount(which, weight, NUM_BINS) for weight in weights], axis=1).astype(np.float64)


def calibration_bins(sums: np.ndarray) -> list[CalibrationBin]:
    """Return the bins of summed `calibration_sums`."""
    edges = np.arange(NUM_BINS + 1) / NUM_BINS
    rows = []
    for low, high, (count, probability, inside) in zip(edges[:-1], edges[1:], sums, strict=True):
        mean, share = (probability / count, inside / count) if count else (float("nan"), float("nan"))
        rows.append(CalibrationBin(float(low), float(high), float(mean), float(share), int(count)))
    return rows


def calibration_error(sums: np.ndarray) -> float:
    """
    Return the expected calibration error: the mean over voxels of |mean probability - share inside| of their bin.

    M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    count, probability, inside = sums.T
    return float(np.abs(probability - inside).sum() / count.sum())
