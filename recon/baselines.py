"""What predictions that never look at an image reach."""

import numpy as np

MEAN_SHAPE = "mean_training_shape"
BEST_BALL = "best_ball"


def mean_training_shape(training_occupancy: np.ndarray) -> np.ndarray:
    """
    Return the mean of the training bodies, the same "prediction" for every protein.

    Parameters
    ----------
    training_occupancy
        0/1 `(protein, z, y, x)`.

    Returns
    -------
    numpy.ndarray
        float32 `(z, y, x)` in 0..1: how often each voxel is occupied. A training protein is part of the
        mean that it is compared with, which favours this baseline a little on the training split.
    """
    return training_occupancy.mean(axis=0, dtype=np.float64).astype(np.float32)


def best_ball(training_occupancy: np.ndarray) -> np.ndarray:
    """
    Return the ball about the grid's centre that agrees best with the training bodies.

    Parameters
    ----------
    training_occupancy
        0/1 `(protein, z, y, x)`.

    Returns
    -------
    numpy.ndarray
        float32 `(z, y, x)`, 0 or 1: of the balls whose radius is a multiple of half a voxel, the one with the highest
        mean IoU.
    """
    axes = [np.arange(size) - (size - 1) / 2 for size in training_occupancy.shape[1:]]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    shell = np.ceil(2 * np.sqrt(z**2 + y**2 + x**2)).astype(int)  # (z, y, x): twice the radius that reaches a voxel
    num_radii = shell.max() + 1
    ball_volume = np.bincount(shell.ravel(), minlength=num_radii).cumsum()  # (radius,)
    mean_iou = np.zeros(num_radii)
    for body in training_occupancy:
        intersection = np.bincount(shell[body > 0], minlength=num_radii).cumsum()
        union = ball_volume + np.count_nonzero(body) - intersection
        mean_iou += np.divide(intersection, union, out=np.zeros(num_radii), where=union > 0)
    return (shell <= np.argmax(mean_iou)).astype(np.float32)
