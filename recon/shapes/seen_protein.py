"""
A protein as methods see it, and the truth that they are scored with.

A prediction in the frame of the first view is compared with the truth there: the true orientation of the first view
only says where the truth lies in that frame. All else that the dataset knows of orientations is used for the pose
error, and by the method `known`, the limit of carving.
"""

from dataclasses import dataclass

import numpy as np

from afmsim.dataset import Dataset
from recon.poses.scan_cleaning import ScanConditions, scanned_views
from recon.poses.true_poses import relative_to_first, true_poses
from recon.shapes.shape_method import PDB_FRAME, TURNED_FRAME, VIEW_FRAME
from recon.shapes.volume_frame import VolumeFrame, frame_of_view, occupancy_in_frame


@dataclass(frozen=True)
class TrueBody:
    """A body on a grid."""

    occupancy: np.ndarray
    """uint8 `(z, y, x)`"""
    voxel_size_nm: float


@dataclass(frozen=True)
class SeenProtein:
    """What a method may see of a protein, and what it is scored with."""

    protein_id: str
    heights_nm: np.ndarray
    """float32 `(view, row, col)`"""
    pixel_size_nm: float
    height_error_nm: float
    upper_nm: np.ndarray | None
    """float32 `(view, row, col)`: no surface lies above, where a blunt tip left that open; else none"""
    frame: VolumeFrame
    true_rotations: np.ndarray
    true_offsets_nm: np.ndarray
    """poses first view -> view"""
    truth: np.ndarray
    """uint8 `(z, y, x)` in the first view's frame"""
    stored_truth: TrueBody
    """in the axes of the structure file, as the dataset holds it"""
    turned_truth: TrueBody
    """on the stored grid, turned about its middle by the first view"""

    def upper_of(self, views: slice | np.ndarray) -> np.ndarray | None:
        """Return what no surface of some views lies above, if there is more to say than their heights do."""
        return None if self.upper_nm is None else self.upper_nm[views]

    def truth_in(self, frame: str) -> TrueBody:
        """Return the truth that an answer in this frame is compared with."""
        if frame == VIEW_FRAME:
            return TrueBody(self.truth, self.frame.voxel_size_nm(len(self.truth)))
        return {PDB_FRAME: self.stored_truth, TURNED_FRAME: self.turned_truth}[frame]


def see_protein(
    dataset: Dataset, protein_index: int, view_indices: np.ndarray, size: int, conditions: ScanConditions
) -> SeenProtein:
    """
    Read one protein's views as they are scanned, and turn its truth into the frame of the first of them.

    Raises
    ------
    ValueError
        A view shows no surface, a number is not finite, or the truth is empty.
    """
    fine = dataset.occupancy_fine(protein_index)
    heights_nm = dataset.heights_nm(protein_index, view_indices)
    views = scanned_views(heights_nm, float(dataset.pixel_size_nm[protein_index]), conditions, protein_index)
    _check_heights(views.heights_nm, view_indices)
    rotations, offsets_nm = true_poses(dataset, protein_index, view_indices, fine)
    frame = frame_of_view(views.heights_nm[0], views.pixel_size_nm)
    voxel_size_nm = float(dataset.voxel_size_nm[protein_index])
    truth = occupancy_in_frame(fine, voxel_size_nm, rotations[0], offsets_nm[0], frame, size)
    stored_frame = VolumeFrame((0.0, 0.0, 0.0), voxel_size_nm * dataset.grid_size)
    turned = occupancy_in_frame(fine, voxel_size_nm, rotations[0], np.zeros(3), stored_frame, dataset.target_size)
    stored = dataset.occupancy(protein_index)
    if not (truth.any() and stored.any() and turned.any()):
        raise ValueError("expected a body, got a truth without any voxel inside")
    return SeenProtein(
        dataset.protein_ids[protein_index],
        views.heights_nm,
        views.pixel_size_nm,
        views.height_error_nm,
        views.upper_nm,
        frame,
        *relative_to_first(rotations, offsets_nm),
        truth,
        TrueBody(stored, stored_frame.voxel_size_nm(dataset.target_size)),
        TrueBody(turned, stored_frame.voxel_size_nm(dataset.target_size)),
    )


def _check_heights(heights_nm: np.ndarray, view_indices: np.ndarray) -> None:
    for view, height_nm in zip(view_indices, heights_nm, strict=True):
        if not np.isfinite(height_nm).all():
            raise ValueError(f"expected finite heights, got others in view {view}")
        if not (height_nm > 0).any():
            raise ValueError(f"expected a surface in view {view}, got nothing but substrate")
