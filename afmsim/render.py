"""Height maps of an occupancy grid, seen from above in any orientation.

The body is where the trilinear interpolation of the occupancy between voxel centres, zero outside the grid, is at
least 0.5. All steps are in voxels; nanometres enter and leave at the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy

from hpc.array_backend import to_numpy

BLOCK_SIZE = 4  # voxels per axis of the blocks that a ray may skip
LOW_MARGIN = 2  # empty voxels before the body, so that no sample needs a check of the border
MAX_SKIP_BLOCKS = 4  # looking farther costs more than it saves at 256 voxels


@dataclass(frozen=True)
class Body:
    """The occupied part of a grid with an empty margin, prepared for rays.

    Attributes
    ----------
    cells
        uint8 ``(z, y, x)``, cut to the body; ``4 * num_blocks`` cells per axis. A cell is the cube between eight
        voxel centres, and bit ``4 * dz + 2 * dy + dx`` is the occupancy at a corner: one load tells a sample
        whether it is empty, full or at the surface.
    block_kinds
        uint8 ``(block_z, block_y, block_x)``: 0 where no cell of the block has an occupied corner, 2 where each corner
        of each cell is occupied, 1 otherwise. A ray meets a block of kind 1 before any of kind 2.
    skip_blocks
        uint8 ``(block_z, block_y, block_x)``: Chebyshev distance in blocks to the nearest block in which an
        interpolated value can be above 0; 0 in such a block.
    row_spans
        int32 ``(z, y, end)``: first and last occupied voxel of each row of the whole grid, -1 in an empty row. The
        farthest point of a body in any direction is among them.
    first_xyz
        int32 ``(xyz,)``: the occupied box's first voxel in the whole grid; it is voxel 2 of ``cells``.
    center_xyz
        float32 ``(xyz,)``: the grid's centre in voxels of ``cells``.
    end_xyz
        float32 ``(xyz,)``: one voxel behind the body's last voxel, in voxels of ``cells``.
    radius_voxels
        Largest distance of an occupied voxel's far corner from the grid's centre.
    """

    cells: Any
    block_kinds: Any
    skip_blocks: Any
    row_spans: Any
    first_xyz: numpy.ndarray
    center_xyz: numpy.ndarray
    end_xyz: numpy.ndarray
    radius_voxels: float

    @property
    def field_of_view_voxels(self) -> float:
        """Width of an image that holds the body in every orientation."""
        return 2 * self.radius_voxels


def field_of_view_nm(occupancy: Any, voxel_size_nm: float, xp: ModuleType = numpy) -> float:
    """Return the width of an image that holds the body in every orientation.

    That is twice the largest distance of an occupied voxel's far corner from the grid's centre.
    """
    body = prepare_body(occupancy, xp)
    if body is None:
        raise ValueError("The grid has no occupied voxel; give the grid of a body.")
    return body.field_of_view_voxels * voxel_size_nm


@dataclass(frozen=True)
class RayScale:
    """Sizes that all rays of a body share."""

    voxel_size_nm: numpy.float32
    pixel_size_voxels: numpy.float32
    top_voxels: numpy.float32
    """a height above the grid's centre, in half voxels, below which the whole body lies in any view"""
    image_size: int


def render_heights(
    occupancy: Any,
    view_rotations: numpy.ndarray,
    voxel_size_nm: float,
    pixel_size_nm: float,
    image_size: int,
    xp: ModuleType = numpy,
) -> Any:
    """Render the height above the substrate, orthographically from +z of each view; see `height_maps`.

    Parameters
    ----------
    occupancy
        uint8 ``(z, y, x)``, 0 or 1, cubic.

    Returns
    -------
    height_nm
        float32 ``(view, row, col)``, 0 where no ray hits the body, an array of ``xp``.
    """
    view_rotations = _checked_rotations(view_rotations)
    body = prepare_body(occupancy, xp)
    if body is None:
        return xp.zeros((len(view_rotations), image_size, image_size), dtype=xp.float32)
    return height_maps(body, view_rotations, voxel_size_nm, pixel_size_nm, image_size, xp)


def height_maps(
    body: Body,
    view_rotations: numpy.ndarray,
    voxel_size_nm: float,
    pixel_size_nm: float,
    image_size: int,
    xp: ModuleType = numpy,
) -> Any:
    """Render the height above the substrate, orthographically from +z of each view: the AFM signal of an ideal tip.

    *Surface.* A ray goes down along -z of the view through the pixel's centre and samples the interpolated occupancy
    every half voxel, at the same heights for all rays of the grid. The surface is where the straight line through
    the first sample of at least 0.5 and the sample above it has the value 0.5. Rays begin at the highest block under
    their tile of 4 x 4 pixels and skip empty blocks, which changes no sample.

    *Substrate.* It touches the lowest point of the body in the view. The candidates are the occupied voxels at an end
    of a row along x whose centres are less than one voxel above the lowest one; from each a ray goes down to the
    surface, and the lowest crossing counts.

    Parameters
    ----------
    view_rotations
        ``(view, 3, 3)``: left-multiply column xyz, world -> view, about the grid's centre.
    voxel_size_nm, pixel_size_nm
        Edges of a voxel and of a pixel.
    image_size
        Rows and columns of an image. Columns grow with +x of the view, rows with -y.
    xp
        numpy for the CPU, cupy for the GPU, as for the body.

    Returns
    -------
    height_nm
        float32 ``(view, row, col)``, 0 where no ray hits the body, an array of ``xp``.
    """
    view_rotations = _checked_rotations(view_rotations)
    scale = _ray_scale(body, voxel_size_nm, pixel_size_nm, image_size)
    if len(view_rotations) == 0:
        return xp.zeros((0, image_size, image_size), dtype=xp.float32)
    backend = _backend(xp)
    floors = backend.substrates(body, view_rotations, xp)
    return backend.cast_rays(body, view_rotations, floors, False, scale, xp)


def thickness_maps(
    body: Body,
    view_rotations: numpy.ndarray,
    voxel_size_nm: float,
    pixel_size_nm: float,
    image_size: int,
    xp: ModuleType = numpy,
) -> Any:
    """Render how far each ray runs inside the body, the exponent of an absorbing volume; parameters as `height_maps`.

    The samples of `height_maps`, taken through to the end and summed.

    Returns
    -------
    thickness_nm
        float32 ``(view, row, col)``, an array of ``xp``.
    """
    view_rotations = _checked_rotations(view_rotations)
    scale = _ray_scale(body, voxel_size_nm, pixel_size_nm, image_size)
    if len(view_rotations) == 0:
        return xp.zeros((0, image_size, image_size), dtype=xp.float32)
    floors = xp.zeros(len(view_rotations), dtype=xp.float32)  # all bits 0, whatever the floors are read as
    return _backend(xp).cast_rays(body, view_rotations, floors, True, scale, xp)


def _ray_scale(body: Body, voxel_size_nm: float, pixel_size_nm: float, image_size: int) -> RayScale:
    corner = numpy.maximum(body.center_xyz, body.end_xyz - body.center_xyz) + 1
    return RayScale(
        voxel_size_nm=numpy.float32(voxel_size_nm),
        pixel_size_voxels=numpy.float32(pixel_size_nm / voxel_size_nm),
        top_voxels=numpy.float32(numpy.ceil(2 * numpy.linalg.norm(corner)) / 2),
        image_size=image_size,
    )


def _checked_rotations(view_rotations: numpy.ndarray) -> numpy.ndarray:
    """Return contiguous float32 ``(view, 3, 3)`` or say what is wrong with it."""
    view_rotations = numpy.ascontiguousarray(view_rotations, dtype=numpy.float32)
    if view_rotations.ndim != 3 or view_rotations.shape[1:] != (3, 3):
        raise ValueError(f"Got rotations of shape {view_rotations.shape}; expected (view, 3, 3).")
    return view_rotations


def prepare_body(occupancy: Any, xp: ModuleType = numpy) -> Body | None:
    """Cut the body out of uint8 ``(z, y, x)`` and find its empty blocks; None where no voxel is occupied."""
    occupancy = xp.ascontiguousarray(occupancy, dtype=xp.uint8)
    if occupancy.ndim != 3 or len(set(occupancy.shape)) != 1:
        raise ValueError(f"Got a grid of shape {tuple(occupancy.shape)}; expected (z, y, x) of equal sizes.")
    backend = _backend(xp)
    row_spans = backend.row_spans(occupancy, xp)
    first_xyz, last_xyz, radius_voxels = _extent(row_spans, xp)
    if radius_voxels <= 0:
        return None
    sizes_xyz = last_xyz - first_xyz + 1
    num_blocks_xyz = -(-(sizes_xyz + LOW_MARGIN + 2) // BLOCK_SIZE)
    cells = backend.corner_cells(occupancy, first_xyz - LOW_MARGIN, num_blocks_xyz * BLOCK_SIZE, xp)
    grid_center = numpy.float32(occupancy.shape[0] - 1) / 2
    block_kinds = backend.find_block_kinds(cells, xp)
    return Body(
        cells=cells,
        block_kinds=block_kinds,
        skip_blocks=_skip_distance(block_kinds, xp),
        row_spans=row_spans,
        first_xyz=first_xyz,
        center_xyz=(grid_center - first_xyz + LOW_MARGIN).astype(numpy.float32),
        end_xyz=(sizes_xyz + LOW_MARGIN).astype(numpy.float32),
        radius_voxels=radius_voxels,
    )


def _backend(xp: ModuleType) -> Any:
    """Return the module that runs the loops for ``xp``."""
    if xp is numpy:
        from afmsim import render_cpu

        return render_cpu
    from afmsim import render_gpu

    return render_gpu


def _extent(row_spans: Any, xp: ModuleType) -> tuple[numpy.ndarray, numpy.ndarray, float]:
    """Return the first and the last occupied voxel ``(xyz,)`` and the radius about the grid's centre in voxels.

    All numbers come from the device in one transfer.
    """
    grid_size = row_spans.shape[0]
    half_size = (grid_size - 1) / 2
    is_occupied = row_spans[..., 1] >= 0  # (z, y)
    axis = xp.arange(grid_size)
    offset = (xp.abs(axis - half_size) + 0.5) ** 2
    far_x = xp.abs(row_spans - half_size).max(axis=-1) + 0.5
    farthest = xp.where(is_occupied, far_x**2 + offset[:, None] + offset, 0.0).max()
    numbers = [farthest]
    for is_any in (is_occupied.any(axis=0), is_occupied.any(axis=1)):
        numbers += [xp.where(is_any, axis, grid_size).min(), xp.where(is_any, axis, -1).max()]
    numbers += [xp.where(is_occupied, row_spans[..., 0], grid_size).min(), row_spans[..., 1].max()]
    found = to_numpy(xp.stack([xp.asarray(number, dtype=xp.float64) for number in numbers]))
    first_xyz = found[[5, 1, 3]].astype(numpy.int32)
    last_xyz = found[[6, 2, 4]].astype(numpy.int32)
    return first_xyz, last_xyz, float(numpy.sqrt(found[0]))


def _skip_distance(block_kinds: Any, xp: ModuleType) -> Any:
    """Return the Chebyshev distance to a block that is not empty, at most ``MAX_SKIP_BLOCKS``, uint8 ``(z, y, x)``."""
    reached = block_kinds != 0
    distance = xp.zeros(reached.shape, dtype=xp.uint8)
    for _ in range(MAX_SKIP_BLOCKS):
        distance += ~reached
        for axis in range(3):
            along = xp.moveaxis(reached, axis, 0)
            grown = along.copy()
            grown[1:] |= along[:-1]
            grown[:-1] |= along[1:]
            reached = xp.moveaxis(grown, 0, axis)
    return distance
