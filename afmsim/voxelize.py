"""Turn a triangle mesh into a solid occupancy grid, and reduce or pack such a grid."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy

LATTICE_STEPS_PER_VOXEL = 1024
# Edge functions grow with the square of a length, depths with its cube: at 1024 steps per voxel a mesh of
# 1024 voxels needs 61 bits.
MAX_EXTENT_VOXELS = 1024


@dataclass(frozen=True)
class GridPlacement:
    """Where a cubic grid lies: voxel ``[z, y, x]`` has its centre at
    ``center_xyz_nm + (index_xyz - (grid_size - 1) / 2) * voxel_size_nm``.
    """  # noqa: D205

    center_xyz_nm: numpy.ndarray
    voxel_size_nm: float
    grid_size: int


def placement_of_mesh(vertices_nm: numpy.ndarray, grid_size: int = 256) -> GridPlacement:
    """Centre the grid on the mesh's bounding box and let the box's longest side span it exactly.

    Parameters
    ----------
    vertices_nm
        ``(vertex, xyz)`` mesh points in nm.
    grid_size
        Voxels per axis.
    """
    vertices_nm = _checked_vertices(vertices_nm)
    if len(vertices_nm) == 0:
        raise ValueError("The mesh has no vertices; give a mesh with at least one triangle.")
    return placement_of_box(vertices_nm.min(axis=0), vertices_nm.max(axis=0), grid_size)


def placement_of_box(lowest_xyz_nm: numpy.ndarray, highest_xyz_nm: numpy.ndarray, grid_size: int) -> GridPlacement:
    """Centre the grid on a box and let the box's longest side span it exactly."""
    longest_side_nm = float((highest_xyz_nm - lowest_xyz_nm).max())
    if longest_side_nm <= 0:
        raise ValueError("The body is a single point; give a body with an extent above 0 nm.")
    return GridPlacement((lowest_xyz_nm + highest_xyz_nm) / 2, longest_side_nm / grid_size, grid_size)


def voxelize_mesh(
    vertices_nm: numpy.ndarray, faces: numpy.ndarray, placement: GridPlacement, xp: ModuleType = numpy
) -> Any:
    """Mark the voxels whose centres lie inside the mesh.

    A ray through each row of voxel centres counts the triangles it crosses: behind an odd number of them lies
    the inside. Vertices are first snapped to a lattice of 1/1024 voxel, so that all tests are on integers; a
    point that lies on an edge belongs to exactly one of the triangles that meet there, hence a closed mesh has
    an even number of crossings in every row, and CPU and GPU agree to the voxel.

    This is done along x, y and z, and each voxel takes the vote of the three. A row with an odd number of
    crossings in all has met a hole of the mesh and abstains, so that a hole leaves no streak behind it; a voxel
    without a majority is outside.

    Parameters
    ----------
    vertices_nm
        ``(vertex, xyz)`` mesh points in nm, on the host.
    faces
        ``(face, corner)`` indices into the vertices, of either orientation.
    placement
        The grid; the parts of a mesh beyond its borders are cut off.
    xp
        numpy for the CPU, cupy for the GPU.

    Returns
    -------
    occupancy
        uint8 ``(z, y, x)``, 1 inside, an array of ``xp``.

    Raises
    ------
    ValueError
        For vertices that are not finite, faces that point to no vertex, or a mesh larger than 1024 voxels.
    """
    lattice = _snapped_to_lattice(_checked_vertices(vertices_nm), placement)
    faces = _checked_faces(faces, len(lattice))
    if xp is numpy:
        from afmsim import voxelize_cpu

        return voxelize_cpu.solid_occupancy(lattice, faces, placement.grid_size)
    from afmsim import voxelize_gpu

    return voxelize_gpu.solid_occupancy(lattice, faces, placement.grid_size, xp)


def downsample_majority(occupancy: Any, target_size: int, xp: ModuleType = numpy) -> Any:
    """Reduce a cubic grid: a coarse voxel is 1 where at least half of its fine voxels are 1.

    Parameters
    ----------
    occupancy
        uint8 ``(z, y, x)``, 0 or 1.
    target_size
        Voxels per axis of the result, a divisor of the grid's size.

    Returns
    -------
    occupancy
        uint8 ``(z, y, x)`` with ``target_size`` voxels per axis, an array of ``xp``.
    """
    grid_size = occupancy.shape[0]
    if occupancy.shape != (grid_size,) * 3 or target_size < 1 or grid_size % target_size:
        raise ValueError(
            f"A grid of shape {tuple(occupancy.shape)} cannot be reduced to {target_size} voxels per axis; "
            "give a cubic grid and a target size that divides its size."
        )
    if xp is numpy:
        from afmsim import voxelize_cpu

        return voxelize_cpu.downsample_majority(numpy.ascontiguousarray(occupancy), target_size)
    from afmsim import voxelize_gpu

    return voxelize_gpu.downsample_majority(xp.ascontiguousarray(occupancy), target_size, xp)


def pack_occupancy(occupancy: Any, xp: ModuleType = numpy) -> Any:
    """Pack eight voxels along x into one byte, the first voxel in the lowest bit.

    Takes uint8 ``(z, y, x)`` and returns uint8 ``(z, y, x / 8)``.
    """
    if occupancy.shape[-1] % 8:
        raise ValueError(f"The grid has {occupancy.shape[-1]} voxels along x; expected a multiple of 8 to pack.")
    # Rows are whole bytes, so packing the flat array is packing along x; cupy packs flat arrays only.
    packed = xp.packbits(xp.ascontiguousarray(occupancy).reshape(-1), bitorder="little")
    return packed.reshape(*occupancy.shape[:-1], -1)


def unpack_occupancy(packed: Any, xp: ModuleType = numpy) -> Any:
    """Undo `pack_occupancy`: uint8 ``(z, y, x / 8)`` to uint8 ``(z, y, x)``."""
    occupancy = xp.unpackbits(xp.ascontiguousarray(packed).reshape(-1), bitorder="little")
    return occupancy.reshape(*packed.shape[:-1], -1)


def _checked_vertices(vertices_nm: numpy.ndarray) -> numpy.ndarray:
    """Return float64 ``(vertex, xyz)`` or say what is wrong with it."""
    vertices_nm = numpy.asarray(vertices_nm, dtype=numpy.float64)
    if vertices_nm.ndim != 2 or vertices_nm.shape[1] != 3:
        raise ValueError(f"Vertices have shape {vertices_nm.shape}; expected (vertex, xyz).")
    if not numpy.isfinite(vertices_nm).all():
        raise ValueError("The mesh has a vertex that is not finite; make the surface again.")
    return vertices_nm


def _checked_faces(faces: numpy.ndarray, num_vertices: int) -> numpy.ndarray:
    """Return contiguous int32 ``(face, corner)`` or say what is wrong with it."""
    faces = numpy.asarray(faces)
    if faces.size == 0:
        return numpy.zeros((0, 3), dtype=numpy.int32)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"Faces have shape {faces.shape}; expected (face, corner) with three corners.")
    if faces.min() < 0 or faces.max() >= num_vertices:
        raise ValueError(f"Faces point to vertices {faces.min()} to {faces.max()}; expected 0 to {num_vertices - 1}.")
    return numpy.ascontiguousarray(faces, dtype=numpy.int32)


def _snapped_to_lattice(vertices_nm: numpy.ndarray, placement: GridPlacement) -> numpy.ndarray:
    """Return int32 ``(vertex, xyz)`` in lattice steps; voxel ``index`` has its centre at ``index * 1024``."""
    index_xyz = (vertices_nm - placement.center_xyz_nm) / placement.voxel_size_nm
    index_xyz += (placement.grid_size - 1) / 2
    if index_xyz.size and numpy.abs(index_xyz - (placement.grid_size - 1) / 2).max() > MAX_EXTENT_VOXELS / 2:
        raise ValueError(
            f"The mesh reaches more than {MAX_EXTENT_VOXELS // 2} voxels from the grid's centre; "
            "use a larger voxel size or a smaller grid."
        )
    return numpy.rint(index_xyz * LATTICE_STEPS_PER_VOXEL).astype(numpy.int32)
