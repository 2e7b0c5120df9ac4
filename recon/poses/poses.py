"""Poses of views: rotations and offsets that map the world into each view's frame."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Poses:
    """Poses world -> view of some views: `p_view = rotation @ p_world + offset`."""

    views: np.ndarray
    """int64 `(view,)`: which views"""
    rotations: np.ndarray
    """float64 `(view, 3, 3)`"""
    offsets: np.ndarray
    """float64 `(view, xyz)`"""

    def with_view(self, view: int, rotation: np.ndarray, offset: np.ndarray) -> "Poses":
        """Return the poses and one more."""
        return Poses(
            np.append(self.views, view),
            np.concatenate([self.rotations, rotation[None]]),
            np.concatenate([self.offsets, offset[None]]),
        )

    def first(self, num_views: int) -> "Poses":
        """Return the poses at the first positions."""
        return Poses(self.views[:num_views], self.rotations[:num_views], self.offsets[:num_views])

    def without(self, position: int) -> "Poses":
        """Return the poses without the one at a position."""
        return Poses(*(np.delete(part, position, axis=0) for part in (self.views, self.rotations, self.offsets)))

    def in_order(self) -> "Poses":
        """Return the poses sorted by view."""
        order = np.argsort(self.views)
        return Poses(self.views[order], self.rotations[order], self.offsets[order])

    def seen_from(self, position: int) -> "Poses":
        """Return the same poses with the frame of one view as the world."""
        rotations = self.rotations @ self.rotations[position].T
        return Poses(self.views, rotations, self.offsets - rotations @ self.offsets[position])


def only_pose(view: int) -> Poses:
    """Return the pose of one view that is the world."""
    return Poses(np.array([view]), np.eye(3)[None], np.zeros((1, 3)))


def angles_deg(rotations: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angles between rotations `(rotation, 3, 3)` and another one `(3, 3)` in degrees."""
    cosine = (np.einsum("rij,ij->r", rotations, other) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two rotations `(3, 3)` in degrees."""
    return float(angles_deg(first[None], second)[0])
