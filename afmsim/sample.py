"""One protein's share of the dataset, from a triangle mesh to quantised height maps: a pure function of its input."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from afmsim.build_config import BuildConfig
from afmsim.orientation import random_rotations
from afmsim.render import field_of_view_nm, render_heights
from afmsim.voxelize import downsample_majority, pack_occupancy, placement_of_mesh, voxelize_mesh
from hpc.array_backend import to_numpy

# Heights are stored in steps of 10 pm, below the thermal noise of any instrument and far below a fine voxel.
HEIGHT_STEP_NM = 0.01
_HEIGHT_MAX = np.iinfo(np.uint16).max


class EmptySolidError(ValueError):
    """A surface encloses no voxel."""


@dataclass(frozen=True)
class Sample:
    """Arrays of one protein, as they are stored."""

    occupancy: np.ndarray
    """uint8 (z, y, x), the target grid"""
    occupancy_fine: np.ndarray
    """uint8 (z, y, x / 8), packed bits"""
    height: np.ndarray
    """uint16 (view, row, col), in steps of `height_scale_nm`"""
    view_rotation: np.ndarray
    """float32 (view, 3, 3), world -> view"""
    voxel_size_nm: float
    pixel_size_nm: float
    height_scale_nm: float
    center_xyz_nm: tuple[float, float, float]


def make_sample(
    vertices_nm: np.ndarray, faces: np.ndarray, protein_id: str, config: BuildConfig, xp: ModuleType = np
) -> Sample:
    """
    Voxelise a closed surface and take its virtual AFM views.

    Parameters
    ----------
    vertices_nm, faces
        `(vertex, xyz)` points in the file's axes and `(face, corner)` indices.
    protein_id
        With the configured seed it decides the orientations.
    xp
        `numpy` or `cupy`.

    Raises
    ------
    EmptySolidError
        The surface encloses no voxel.
    """
    placement = placement_of_mesh(vertices_nm, config.grid_size)
    fine = voxelize_mesh(vertices_nm, faces, placement, xp)
    if not fine.any():
        raise EmptySolidError(f"the surface of {len(faces)} triangles encloses no voxel; is the structure complete?")
    rotations = random_rotations(config.num_views, config.seed, protein_id)
    view_edge_nm = field_of_view_nm(fine, placement.voxel_size_nm, xp)
    pixel_size_nm = view_edge_nm / config.image_size
    heights_nm = render_heights(fine, rotations, placement.voxel_size_nm, pixel_size_nm, config.image_size, xp)
    height_scale_nm = float(np.float32(max(HEIGHT_STEP_NM, view_edge_nm / _HEIGHT_MAX)))
    return Sample(
        occupancy=to_numpy(downsample_majority(fine, config.target_size, xp)),
        occupancy_fine=to_numpy(pack_occupancy(fine, xp)),
        height=np.rint(to_numpy(heights_nm) / height_scale_nm).astype(np.uint16),
        view_rotation=rotations,
        voxel_size_nm=placement.voxel_size_nm,
        pixel_size_nm=pixel_size_nm,
        height_scale_nm=height_scale_nm,
        center_xyz_nm=tuple(float(value) for value in placement.center_xyz_nm),  # type: ignore[arg-type]
    )
