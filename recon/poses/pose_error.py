"""How wrong found orientations are, where a turn that maps the body onto itself is no error."""

import numpy as np

from recon.poses.poses import angle_deg
from recon.shapes.shape_metrics import refined_alignment

LARGE_ERROR_DEG = 10.0
"""Larger errors are checked for being a symmetry of the body."""
SAME_SHAPE_SHARE = 0.9
"""A turn is a symmetry when this share of the body's voxels lies in the turned body, at 32 voxels per axis."""


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
    from scipy.ndimage import map_coordinates

    points = np.argwhere(body)[:, ::-1].astype(np.float64)
    center = points.mean(axis=0)
    soft_body = body.astype(np.float64)
    symmetry, shift, _ = refined_alignment(soft_body, points - center, error, center)
    moved = (points - center) @ symmetry.T + shift  # (point, xyz)
    is_inside = map_coordinates(soft_body, moved.T[::-1], order=1) >= 0.5
    return min(angle, angle_deg(error, symmetry)) if is_inside.mean() >= SAME_SHAPE_SHARE else angle
