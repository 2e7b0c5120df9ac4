"""Intersection over union of predicted and true occupancy, and the threshold it is taken at."""

import numpy as np

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
"""The thresholds among which `choose_threshold` chooses, float64 `(threshold,)`."""


def iou_at_thresholds(
    probability: np.ndarray, occupancy: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """
    Score each protein at each threshold.

    Parameters
    ----------
    probability
        float `(protein, z, y, x)` in 0..1; a voxel is predicted occupied where it reaches the threshold.
    occupancy
        0/1 `(protein, z, y, x)`.
    thresholds
        float `(threshold,)`.

    Returns
    -------
    numpy.ndarray
        float64 `(threshold, protein)`; 1 where both bodies are empty.
    """
    assert probability.shape == occupancy.shape, (probability.shape, occupancy.shape)
    truth = occupancy.reshape(len(occupancy), -1) > 0
    flat_probability = probability.reshape(len(probability), -1)
    iou = np.ones((len(thresholds), len(truth)))
    for row, threshold in enumerate(thresholds):
        predicted = flat_probability >= threshold
        intersection = np.count_nonzero(predicted & truth, axis=1)
        union = np.count_nonzero(predicted | truth, axis=1)
        np.divide(intersection, union, out=iou[row], where=union > 0)
    return iou


def iou_per_protein(probability: np.ndarray, occupancy: np.ndarray, threshold: float) -> np.ndarray:
    """Return float64 `(protein,)`: the IoU of each `(z, y, x)` body at one threshold."""
    return iou_at_thresholds(probability, occupancy, np.array([threshold]))[0]


def choose_threshold(training_iou: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> int:
    """
    Choose the threshold with the highest mean IoU over the training proteins.

    Only training scores belong here: a threshold chosen on what is then scored flatters the score.

    Parameters
    ----------
    training_iou
        float `(threshold, protein)`, from `iou_at_thresholds` of training proteins.
    thresholds
        float `(threshold,)`.

    Returns
    -------
    int
        Index into `thresholds`; of equal ones the middle one.
    """
    assert len(training_iou) == len(thresholds)
    mean_iou = training_iou.mean(axis=1)
    best_indices = np.flatnonzero(mean_iou == mean_iou.max())
    return int(best_indices[len(best_indices) // 2])
