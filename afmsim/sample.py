"""One protein's share of the dataset, from its surface to quantised views: a pure function of its input."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from afmsim.build_config import BuildConfig
from afmsim.dataset import VIEW_ARRAY_OF_RENDERING
from afmsim.orientation import random_rotations
from afmsim.pymol_surface import SurfaceMesh
from afmsim.render import height_maps, prepare_body, thickness_maps
from afmsim.solvent_surface import AtomSpheres, placement_of_atoms, solvent_excluded_occupancy
from afmsim.voxelize import GridPlacement, downsample_majority, pack_occupancy, placement_of_mesh, voxelize_mesh
from hpc.array_backend import to_numpy

# Views are stored in steps of 10 pm, below the thermal noise of any instrument and far below a fine voxel.
HEIGHT_STEP_NM = 0.01
_HEIGHT_MAX = np.iinfo(np.uint16).max
_RENDERERS = {"height": height_maps, "density": thickness_maps}


class EmptySolidError(ValueError):
    """A surface encloses no voxel."""


@dataclass(frozen=True)
class Sample:
    """One protein as it is stored."""

    arrays: dict[str, np.ndarray]
    """the protein's item of each sharded array, by name, see `afmsim.dataset.array_specs`"""
    voxel_size_nm: float
    pixel_size_nm: float
    height_scale_nm: float
    center_xyz_nm: tuple[float, float, float]


def make_sample(shape: SurfaceMesh | AtomSpheres, protein_id: str, config: BuildConfig, xp: ModuleType = np) -> Sample:
    """
    Make the solid of a surface and take its views.

    Parameters
    ----------
    protein_id
        With the configured seed it decides the orientations.
    xp
        `numpy` or `cupy`.

    Raises
    ------
    EmptySolidError
        The surface encloses no voxel.
    """
    placement, fine = solid_of(shape, config.grid_size, xp)
    body = prepare_body(fine, xp)
    if body is None:
        raise EmptySolidError("the surface encloses no voxel; is the structure complete?")
    rotations = random_rotations(config.num_views, config.seed, protein_id)
    view_edge_nm = body.field_of_view_voxels * placement.voxel_size_nm
    pixel_size_nm = view_edge_nm / config.image_size
    render = _RENDERERS[config.rendering]
    views_nm = render(body, rotations, placement.voxel_size_nm, pixel_size_nm, config.image_size, xp)
    height_scale_nm = float(np.float32(max(HEIGHT_STEP_NM, view_edge_nm / _HEIGHT_MAX)))
    return Sample(
        arrays={
            "occupancy": to_numpy(downsample_majority(fine, config.target_size, xp)),
            "occupancy_fine": to_numpy(pack_occupancy(fine, xp)),
            VIEW_ARRAY_OF_RENDERING[config.rendering]: to_numpy(_in_steps(views_nm, height_scale_nm, xp)),
            "view_rotation": rotations,
        },
        voxel_size_nm=placement.voxel_size_nm,
        pixel_size_nm=pixel_size_nm,
        height_scale_nm=height_scale_nm,
        center_xyz_nm=tuple(float(value) for value in placement.center_xyz_nm),  # type: ignore[arg-type]
    )


def solid_of(shape: SurfaceMesh | AtomSpheres, grid_size: int, xp: ModuleType = np) -> tuple[GridPlacement, Any]:
    """Return where the grid lies and the solid, uint8 `(z, y, x)`, of a mesh or of atoms."""
    if isinstance(shape, AtomSpheres):
        placement = placement_of_atoms(shape.positions_nm, shape.radii_nm, grid_size)
        return placement, solvent_excluded_occupancy(shape.positions_nm, shape.radii_nm, placement, xp)
    placement = placement_of_mesh(shape.vertices_nm, grid_size)
    return placement, voxelize_mesh(shape.vertices_nm, shape.faces, placement, xp)


def _in_steps(views_nm: Any, height_scale_nm: float, xp: ModuleType) -> Any:
    """Return uint16 `(view, row, col)`."""
    return xp.rint(views_nm / np.float32(height_scale_nm)).astype(xp.uint16)
