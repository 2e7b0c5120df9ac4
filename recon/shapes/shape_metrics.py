"""How close a predicted body is to the true one: Chamfer distance, F-score, and IoU after the best rigid alignment."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from recon.poses.rotation_sampling import even_rotations

F_SCORE_DISTANCE_NM = 1.0
_NUM_ROTATIONS = 1500
_NUM_REFINED = 3
_NUM_COARSE_POINTS, _NUM_FINE_POINTS = 500, 2000
_FIRST_STEP_DEG, _FIRST_STEP_VOXELS = 6.0, 1.0
_NUM_HALVINGS = 6


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between the surfaces of two bodies."""

    chamfer_nm: float
    """mean of the two mean distances from each surface voxel to the nearest one of the other body"""
    f_score: float
    """harmonic mean of the shares of surface voxels within `F_SCORE_DISTANCE_NM` of the other body's surface"""


def overlap(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return intersection over union of two bodies, 1 where both are empty."""
    is_predicted, is_true = predicted > 0, truth > 0
    union = np.count_nonzero(is_predicted | is_true)
    return np.count_nonzero(is_predicted & is_true) / union if union else 1.0


def surface_scores(predicted: np.ndarray, truth: np.ndarray, voxel_size_nm: float) -> SurfaceScores:
    """
    Compare the surfaces of two bodies, as the centres of their outermost voxels.

    Parameters
    ----------
    predicted, truth
        0/1 `(z, y, x)`; an empty prediction is infinitely far away.
    voxel_size_nm
        Edge of a voxel.
    """
    from scipy.ndimage import distance_transform_edt

    surfaces = [_surface(body > 0) for body in (predicted, truth)]
    if not all(surface.any() for surface in surfaces):
        return SurfaceScores(np.inf, 0.0)
    to_predicted, to_truth = (distance_transform_edt(~surface) * voxel_size_nm for surface in surfaces)
    from_predicted, from_truth = to_truth[surfaces[0]], to_predicted[surfaces[1]]
    precision, recall = (np.mean(one <= F_SCORE_DISTANCE_NM) for one in (from_predicted, from_truth))
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return SurfaceScores(float(from_predicted.mean() + from_truth.mean()) / 2, float(f_score))


def _surface(body: np.ndarray) -> np.ndarray:
    """Mark the voxels of a body that touch the outside with a face."""
    from scipy.ndimage import binary_erosion

    return body & ~binary_erosion(body)


def aligned_overlap(predicted: np.ndarray, truth: np.ndarray) -> float:
    """
    Return the IoU of two bodies after the best rotation and shift, by search over SO(3); never mirrored.

    The moved body is read by trilinear interpolation, so that the value differs a little from a count of voxels.
    """
    points = _points(predicted)
    if len(points) == 0 or not truth.any():
        return float(len(points) == 0 and not truth.any())
    soft_truth = truth.astype(np.float64)
    center = np.argwhere(truth)[:, ::-1].mean(axis=0)
    points -= points.mean(axis=0)
    rotations = np.concatenate([np.eye(3)[None], even_rotations(_NUM_ROTATIONS)]).astype(np.float64)
    shifts = np.tile(center, (len(rotations), 1))
    scores = _overlaps(soft_truth, _thinned(points, _NUM_COARSE_POINTS), rotations, shifts)
    best = np.argsort(scores)[::-1][:_NUM_REFINED]
    fine_points = _thinned(points, _NUM_FINE_POINTS)
    found = [refined_alignment(soft_truth, fine_points, rotations[start], shifts[start])[2] for start in best]
    shared = max(found) * len(points)
    return max(overlap(predicted, truth), float(shared / (len(points) + soft_truth.sum() - shared)))


def refined_alignment(
    truth: np.ndarray, points: np.ndarray, rotation: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """
    Move points by small turns and shifts, ever smaller, until none adds to what they share with a body.

    Parameters
    ----------
    truth
        float64 `(z, y, x)`.
    points
        float64 `(point, xyz)` in voxels, about their centre.
    rotation, shift
        Where to start: `truth` is read at `rotation @ point + shift`.

    Returns
    -------
    rotation, shift, shared
        The pose found, and the mean of `truth` over the points.
    """
    from scipy.spatial.transform import Rotation

    directions = np.concatenate([np.eye(6), -np.eye(6)])
    shared = float(_overlaps(truth, points, rotation[None], shift[None])[0])
    scale = 1.0
    for _ in range(_NUM_HALVINGS):
        while True:
            turns = Rotation.from_rotvec(np.radians(_FIRST_STEP_DEG) * scale * directions[:, :3]).as_matrix()
            rotations = turns @ rotation
            shifts = shift + _FIRST_STEP_VOXELS * scale * directions[:, 3:]
            scores = _overlaps(truth, points, rotations, shifts)
            best = int(scores.argmax())
            if scores[best] <= shared:
                break
            rotation, shift, shared = rotations[best], shifts[best], float(scores[best])
        scale /= 2
    return rotation, shift, shared


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    """Return at most about twice so many of the points."""
    return points[:: max(1, len(points) // most)]


def _points(body: np.ndarray) -> np.ndarray:
    """Return the centres of a body's voxels, float64 `(point, xyz)`."""
    return np.argwhere(body)[:, ::-1].astype(np.float64)


@njit(cache=True, parallel=True, error_model="numpy")
def _overlaps(body, points, rotations, shifts):  # type: ignore[no-untyped-def]
    """Return the mean of a body, interpolated, at the points in each pose, float64 `(pose,)`."""
    size_z, size_y, size_x = body.shape
    means = np.zeros(len(rotations))
    for pose in prange(len(rotations)):
        rotation, shift = rotations[pose], shifts[pose]
        total = 0.0
        for point in range(len(points)):
            p_x, p_y, p_z = points[point, 0], points[point, 1], points[point, 2]
            x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + shift[0]
            y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + shift[1]
            z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + shift[2]
            low_x, low_y, low_z = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            for corner in range(8):
                c_x, c_y, c_z = low_x + (corner & 1), low_y + (corner >> 1 & 1), low_z + (corner >> 2)
                if 0 <= c_x < size_x and 0 <= c_y < size_y and 0 <= c_z < size_z:
                    total += body[c_z, c_y, c_x] * (1 - abs(x - c_x)) * (1 - abs(y - c_y)) * (1 - abs(z - c_z))
        means[pose] = total / len(points)
    return means
