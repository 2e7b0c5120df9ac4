"""Poses that a dataset knows: only for scoring, for training and for the limit that carving can reach."""

import numpy as np

from afmsim.dataset import Dataset

_SURFACE_BEYOND_CENTER_VOXELS = 0.4
"""How far the surface lies beyond the centre of an outermost voxel, along directions of all kinds (0.36 to 0.5)."""


def true_poses(
    dataset: Dataset, protein_index: int, view_indices: np.ndarray, occupancy_fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return rotations `(view, 3, 3)` and offsets in nm `(view, xyz)` from the grid's centre to views.

    A view's z counts from the substrate, which the body's lowest point touches.
    """
    rotations = dataset.view_rotations(protein_index)[view_indices].astype(np.float64)
    is_inside = occupancy_fine.astype(bool)
    z, y = np.nonzero(is_inside.any(axis=-1))
    rows = is_inside[z, y]
    ends = [rows.argmax(axis=-1), rows.shape[-1] - 1 - rows[:, ::-1].argmax(axis=-1)]
    points = np.concatenate([np.stack([x, y, z], axis=-1) for x in ends]) - (occupancy_fine.shape[0] - 1) / 2
    lowest = (rotations[:, 2] @ points.T).min(axis=1) - _SURFACE_BEYOND_CENTER_VOXELS
    offsets = np.zeros((len(rotations), 3))
    offsets[:, 2] = -lowest * float(dataset.voxel_size_nm[protein_index])
    return rotations, offsets


def relative_to_first(rotations: np.ndarray, offsets_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn poses world -> view into poses first view -> view."""
    relative = rotations @ rotations[0].T
    return relative, offsets_nm - relative @ offsets_nm[0]
