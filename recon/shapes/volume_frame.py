"""Where a cubic grid lies in the frame of a view, and the truth brought there."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from afmsim.voxelize import downsample_majority

SAMPLES_PER_VOXEL = 4
"""Points per axis of a voxel at which a turned truth is sampled before it is reduced by majority."""


@dataclass(frozen=True)
class VolumeFrame:
    """
    A cubic grid: voxel `[z, y, x]` has its centre at `center_xyz_nm + (index_xyz - (size - 1) / 2) * edge / size`.

    A view's frame has x along columns and y against rows from the image's centre, and z as the height above the
    substrate.
    """

    center_xyz_nm: tuple[float, float, float]
    edge_nm: float

    def voxel_size_nm(self, size: int) -> float:
        """Return the edge of a voxel when the grid has `size` of them per axis."""
        return self.edge_nm / size


def frame_of_view(height_nm: np.ndarray, pixel_size_nm: float) -> VolumeFrame:
    """
    Return the grid that holds what one view shows: as wide as the image, in the middle of the box around the body.

    Parameters
    ----------
    height_nm
        float `(row, col)`, 0 on the substrate.
    pixel_size_nm
        Edge of a pixel.
    """
    image_size = height_nm.shape[0]
    is_hit = height_nm > 0
    cols, rows = np.flatnonzero(is_hit.any(axis=0)), np.flatnonzero(is_hit.any(axis=1))
    half = (image_size - 1) / 2
    x = (cols[0] + cols[-1]) / 2 - half
    y = half - (rows[0] + rows[-1]) / 2
    center = (x * pixel_size_nm, y * pixel_size_nm, float(height_nm.max()) / 2)
    return VolumeFrame(center, image_size * pixel_size_nm)


def occupancy_in_frame(
    occupancy: np.ndarray,
    voxel_size_nm: float,
    rotation: np.ndarray,
    offset_nm: np.ndarray,
    frame: VolumeFrame,
    size: int,
) -> np.ndarray:
    """
    Turn a body into a view's frame and reduce it by majority.

    Parameters
    ----------
    occupancy
        uint8 `(z, y, x)`, cubic; the body is where its trilinear interpolation is at least 0.5, as in
        `afmsim.render`.
    voxel_size_nm
        Edge of its voxels.
    rotation, offset_nm
        Pose world -> view, `(3, 3)` and `(xyz,)`; the world's origin is the grid's centre.
    frame, size
        The grid that is filled, and its voxels per axis.

    Returns
    -------
    numpy.ndarray
        uint8 `(z, y, x)`.
    """
    num_samples = size * SAMPLES_PER_VOXEL
    sample_size_nm = frame.voxel_size_nm(num_samples)
    start_view = np.asarray(frame.center_xyz_nm) - (num_samples - 1) / 2 * sample_size_nm
    inverse = np.asarray(rotation, dtype=np.float64).T
    start = inverse @ (start_view - offset_nm) / voxel_size_nm + (occupancy.shape[0] - 1) / 2
    steps = inverse * (sample_size_nm / voxel_size_nm)
    return downsample_majority(_sample_body(occupancy, start, steps, num_samples), size)


@njit(cache=True, parallel=True, error_model="numpy")
def _sample_body(occupancy, start, steps, size):  # type: ignore[no-untyped-def]
    """Sample a body at `start + steps @ index_xyz` in grid indices, uint8 `(z, y, x)`."""
    sampled = np.zeros((size, size, size), dtype=np.uint8)
    last = occupancy.shape[0] - 1
    for z in prange(size):
        for y in range(size):
            for x in range(size):
                at_x = start[0] + steps[0, 0] * x + steps[0, 1] * y + steps[0, 2] * z
                at_y = start[1] + steps[1, 0] * x + steps[1, 1] * y + steps[1, 2] * z
                at_z = start[2] + steps[2, 0] * x + steps[2, 1] * y + steps[2, 2] * z
                if at_x <= -1 or at_y <= -1 or at_z <= -1 or at_x > last + 1 or at_y > last + 1 or at_z > last + 1:
                    continue
                low_x, low_y, low_z = int(np.floor(at_x)), int(np.floor(at_y)), int(np.floor(at_z))
                value = 0.0
                for corner in range(8):
                    c_x, c_y, c_z = low_x + (corner & 1), low_y + (corner >> 1 & 1), low_z + (corner >> 2)
                    is_inside = 0 <= c_x <= last and 0 <= c_y <= last and 0 <= c_z <= last
                    if is_inside and occupancy[c_z, c_y, c_x]:
                        value += (1 - abs(at_x - c_x)) * (1 - abs(at_y - c_y)) * (1 - abs(at_z - c_z))
                sampled[z, y, x] = value >= 0.5
    return sampled
