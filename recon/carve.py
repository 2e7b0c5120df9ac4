"""
The body that all views allow: what lies above a measured height or below the substrate is proven empty.

A height map says three things about a point: above the surface it is empty; at the surface it is occupied; below, it
was not seen. What no view proves empty is kept, so that a carved body holds the true one, and only hollows that no
view looks into are filled.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from recon.shapes.volume_frame import VolumeFrame

SAMPLES_PER_VOXEL = 4
"""Points per axis of a voxel at which it is carved; a voxel is occupied where at least half of them are left."""
MAX_DEPTH_VOXELS = 4.0
"""Depths are clipped here: farther inside or outside nothing more is learned."""
EMPTY_BELOW = 0.5


@dataclass(frozen=True)
class CarvedVolume:
    """What the views say about each voxel, all float32 `(z, y, x)`; depths in voxels, above 0 inside."""

    share: np.ndarray
    """share of the voxel that no view proves empty, 0..1"""
    least_depth: np.ndarray
    """depth of the voxel's centre below the surface (or above the substrate), least over the views"""
    second_depth: np.ndarray
    """second least depth"""
    mean_depth: np.ndarray
    """mean depth over the views"""
    contact_share: np.ndarray
    """share of the views whose surface passes within half a voxel of the centre"""

    @property
    def occupancy(self) -> np.ndarray:
        """uint8 `(z, y, x)`: 1 where at least half of the voxel is not proven empty."""
        return (self.share >= EMPTY_BELOW).astype(np.uint8)

    @property
    def is_empty(self) -> np.ndarray:
        """Bool `(z, y, x)`: proven empty."""
        return self.share < EMPTY_BELOW

    @property
    def is_surface(self) -> np.ndarray:
        """Bool `(z, y, x)`: a view's surface passes here and no view looks through it."""
        return ~self.is_empty & (self.contact_share > 0)

    @property
    def is_unseen(self) -> np.ndarray:
        """Bool `(z, y, x)`: below the surface of every view."""
        return ~self.is_empty & (self.contact_share == 0)


def carve(
    heights_nm: np.ndarray,
    pixel_size_nm: float,
    rotations: np.ndarray,
    offsets_nm: np.ndarray,
    frame: VolumeFrame,
    size: int,
    allowance_nm: float = 0.0,
) -> CarvedVolume:
    """
    Carve a body from height maps of known poses.

    Parameters
    ----------
    heights_nm
        float `(view, row, col)`: heights above the substrate, 0 on it; read bilinearly between pixel centres.
    pixel_size_nm
        Edge of a pixel.
    rotations, offsets_nm
        `(view, 3, 3)` and `(view, xyz)`: poses frame -> view, `p_view = rotation @ p_frame + offset`; a view's z
        is the height above its substrate, its x and y count from the image's centre.
    frame, size
        The grid that is carved, and its voxels per axis.
    allowance_nm
        A point is proven empty only where it lies farther than this above a surface.
    """
    voxel_size_nm = frame.voxel_size_nm(size)
    start = np.asarray(frame.center_xyz_nm) - (size - 1) / 2 * voxel_size_nm
    rotations = np.asarray(rotations, dtype=np.float64)
    # Positions of voxel centres in pixels and heights in voxels: one affine map per view.
    starts = rotations @ start + np.asarray(offsets_nm)  # (view, xyz)
    heights = np.ascontiguousarray(heights_nm, dtype=np.float32)
    arrays = _carve(
        heights, rotations, starts, pixel_size_nm, voxel_size_nm, size, SAMPLES_PER_VOXEL, allowance_nm,
        MAX_DEPTH_VOXELS,
    )  # fmt: skip
    return CarvedVolume(*arrays)


@njit(cache=True, error_model="numpy")
def depth_below(height, pixel_size, x, y, z):  # type: ignore[no-untyped-def]
    """Return how far a point lies inside what one view allows, measured along z; below 0 outside."""
    size = height.shape[0]
    col = x / pixel_size + (size - 1) / 2
    row = (size - 1) / 2 - y / pixel_size
    surface = 0.0
    if 0 <= col < size - 1 and 0 <= row < size - 1:
        low_col, low_row = int(col), int(row)
        part_col, part_row = col - low_col, row - low_row
        upper = height[low_row, low_col] * (1 - part_col) + height[low_row, low_col + 1] * part_col
        lower = height[low_row + 1, low_col] * (1 - part_col) + height[low_row + 1, low_col + 1] * part_col
        surface = upper * (1 - part_row) + lower * part_row
    return min(surface - z, z)


@njit(cache=True, parallel=True, error_model="numpy")
def _carve(heights, rotations, starts, pixel_size, voxel_size, size, samples, allowance, max_depth):  # type: ignore[no-untyped-def]
    """Return share, least, second and mean depth and share of contacts, float32 `(z, y, x)`; lengths in nm."""
    num_views = len(heights)
    shape = (size, size, size)
    share, contacts = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    least, second, mean = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    first_sample = 0.5 / samples - 0.5
    for z in prange(size):
        for y in range(size):
            for x in range(size):
                low, next_low, total, num_contacts = np.inf, np.inf, 0.0, 0
                for view in range(num_views):
                    depth = _depth_at(heights, rotations, starts, pixel_size, voxel_size, view, x, y, z) / voxel_size
                    num_contacts += abs(depth) < 0.5
                    depth = min(max(depth, -max_depth), max_depth)
                    total += depth
                    if depth < low:
                        low, next_low = depth, low
                    elif depth < next_low:
                        next_low = depth
                least[z, y, x] = low
                second[z, y, x] = min(next_low, max_depth)
                mean[z, y, x] = total / num_views
                contacts[z, y, x] = num_contacts / num_views
                left = 0
                for sample in range(samples**3):
                    sub_x = x + first_sample + (sample % samples) / samples
                    sub_y = y + first_sample + (sample // samples % samples) / samples
                    sub_z = z + first_sample + (sample // samples**2) / samples
                    is_left = True
                    for view in range(num_views):
                        depth = _depth_at(heights, rotations, starts, pixel_size, voxel_size, view, sub_x, sub_y, sub_z)
                        if depth < -allowance:
                            is_left = False
                            break
                    left += is_left
                share[z, y, x] = left / samples**3
    return share, least, second, mean, contacts


@njit(cache=True, error_model="numpy")
def _depth_at(heights, rotations, starts, pixel_size, voxel_size, view, x, y, z):  # type: ignore[no-untyped-def]
    """Return the depth in nm, in one view, of a point in grid indices."""
    rotation, start = rotations[view], starts[view]
    at_x = start[0] + voxel_size * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z)
    at_y = start[1] + voxel_size * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z)
    at_z = start[2] + voxel_size * (rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z)
    return depth_below(heights[view], pixel_size, at_x, at_y, at_z)
