"""A triangle mesh around a solid that has none, by marching cubes: the only door to scikit-image."""

import numpy as np

from afmsim.pymol_surface import SurfaceMesh
from afmsim.voxelize import GridPlacement

_SMOOTHING_VOXELS = 1.0
"""Standard deviation of the blur that turns steps of whole voxels into slopes."""


def surface_of_occupancy(occupancy: np.ndarray, placement: GridPlacement) -> SurfaceMesh:
    """
    Return the closed surface of a solid, in the axes of the structure file.

    The solid is blurred by one voxel and cut at one half (Lorensen and Cline, SIGGRAPH 1987, in the variant of Lewiner
    et al., 2003), which keeps flat surfaces in place and rounds off what is smaller than a few voxels.

    Parameters
    ----------
    occupancy
        uint8 `(z, y, x)`, 1 inside.

    Raises
    ------
    ValueError
        The solid has no voxel.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    if not occupancy.any():
        raise ValueError("the grid has no occupied voxel, hence no surface; give the grid of a body")
    margin = int(4 * _SMOOTHING_VOXELS) + 1
    smooth = gaussian_filter(np.pad(occupancy.astype(np.float32), margin), _SMOOTHING_VOXELS)
    indices_zyx, faces, _, _ = marching_cubes(smooth, 0.5, gradient_direction="descent")
    offsets_xyz = indices_zyx[:, ::-1].astype(np.float64) - margin - (placement.grid_size - 1) / 2
    vertices_nm = offsets_xyz * placement.voxel_size_nm + placement.center_xyz_nm
    return SurfaceMesh(vertices_nm, faces.astype(np.int32))
