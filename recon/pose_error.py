"""How wrong found orientations are, where a turn that maps the body onto itself is no error."""

import numpy as np

from recon.poses import angle_deg
from recon.shape_metrics import refined_alignment

LARGE_ERROR_DEG = 10.0
"""Larger errors are checked for being a symmetry of the body."""
SAME_SHAPE_SHARE = 0.9
"""A turn is a symmetry when the turned body shares this much with itself, at 32 voxels."""


def pose_errors_deg(found: np.ndarray, true: np.ndarray, body: np.ndarray) -> np.ndarray:
    """
    Return the error of each view's orientation relative to the first view, the first excluded, float64 `(view - 1,)`.

    Parameters
    ----------
    found, true
        `(view, 3, 3)`: rotations first view -> view.
    body
        0/1 `(z, y, x)`: the true body in the first view's frame.
    """
    return np.array(
        [_error_deg(true_one.T @ found_one, body) for found_one, true_one in zip(found[1:], true[1:], strict=True)]
    )


def _error_deg(error: np.ndarray, body: np.ndarray) -> float:
    """Return the angle of a rotation of the body, or its distance to the nearest symmetry of the body."""
    angle = angle_deg(error, np.eye(3))
    if angle <= LARGE_ERROR_DEG:
        return angle
    points = np.argwhere(body)[:, ::-1].astype(np.float64)
    center = points.mean(axis=0)
    symmetry, _, shared = refined_alignment(body.astype(np.float64), points - center, error, center)
    return min(angle, angle_deg(error, symmetry)) if shared >= SAME_SHAPE_SHARE else angle
