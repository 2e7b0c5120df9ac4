"""What a prediction that never looks at an image reaches."""

import numpy as np

MEAN_SHAPE = "mean_training_shape"


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
