"""Height maps of an occupancy grid, seen from above in any orientation.

The body is where the trilinear interpolation of the occupancy between voxel centres, zero outside the grid, is at
least 0.5. All steps are in voxels; nanometres enter and leave at the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy

BLOCK_SIZE = 4  # voxels per axis of the blocks that a ray may skip
LOW_MARGIN = 2  # empty voxels before the body, so that no sample needs a check of the border
MAX_SKIP_BLOCKS = 4  # looking farther costs more than it saves at 256 voxels


@dataclass(frozen=True)
class Body:
    """The occupied part of a grid with an empty margin, and what helps rays through the empty space.

    Attributes
    ----------
    occupancy
        uint8 ``(z, y, x)``, cut to the body; ``4 * num_blocks + 1`` voxels per axis.
    skip_blocks
        uint8 ``(block_z, block_y, block_x)``: Chebyshev distance in blocks to the nearest block in which an
        interpolated value can be above 0; 0 in such a block.
    center_xyz
        float32 ``(xyz,)``: the grid's centre in voxels of ``occupancy``.
    end_xyz
        float32 ``(xyz,)``: one voxel behind the body's last voxel; it begins at voxel 2.
    extremes_xyz
        float32 ``(point, xyz)``: first and last occupied voxel of each row, in voxels from the grid's centre.
    """

    occupancy: Any
    skip_blocks: Any
    center_xyz: numpy.ndarray
    end_xyz: numpy.ndarray
    extremes_xyz: Any


def field_of_view_nm(occupancy: Any, voxel_size_nm: float, xp: ModuleType = numpy) -> float:
    """Return the width of an image that holds the body in every orientation.

    That is twice the largest distance of an occupied voxel's far corner from the grid's centre.
    """
    extremes_xyz = _row_extremes(xp.asarray(occupancy), xp)
    if len(extremes_xyz) == 0:
        raise ValueError("The grid has no occupied voxel; give the grid of a body.")
    offsets_xyz = xp.abs(extremes_xyz - (numpy.float32(occupancy.shape[0]) - 1) / 2) + 0.5
    return 2 * float(xp.sqrt((offsets_xyz**2).sum(axis=1).max())) * voxel_size_nm


def render_heights(
    occupancy: Any,
    view_rotations: numpy.ndarray,
    voxel_size_nm: float,
    pixel_size_nm: float,
    image_size: int,
    xp: ModuleType = numpy,
) -> Any:
    """Render the height above the substrate, orthographically from +z of each view.

    *Surface.* A ray goes down along -z of the view through the pixel's centre and samples the interpolated occupancy
    every half voxel, at the same heights for all rays of the grid. The surface is where the straight line through
    the first sample of at least 0.5 and the sample above it has the value 0.5. Empty blocks are skipped, which
    changes no sample.

    *Substrate.* It touches the lowest point of the body in the view. The candidates are the occupied voxels at an end
    of a row along x whose centres are less than one voxel above the lowest one; from each a ray goes down to the
    surface, and the lowest crossing counts.

    Parameters
    ----------
    occupancy
        uint8 ``(z, y, x)``, 0 or 1, cubic.
    view_rotations
        ``(view, 3, 3)``: left-multiply column xyz, world -> view, about the grid's centre.
    voxel_size_nm, pixel_size_nm
        Edges of a voxel and of a pixel.
    image_size
        Rows and columns of an image. Columns grow with +x of the view, rows with -y.
    xp
        numpy for the CPU, cupy for the GPU.

    Returns
    -------
    height_nm
        float32 ``(view, row, col)``, 0 where no ray hits the body, an array of ``xp``.
    """
    occupancy = xp.asarray(occupancy)
    view_rotations = numpy.ascontiguousarray(view_rotations, dtype=numpy.float32)
    if occupancy.ndim != 3 or view_rotations.shape[1:] != (3, 3):
        raise ValueError(
            f"Got a grid of shape {tuple(occupancy.shape)} and rotations of shape {view_rotations.shape}; "
            "expected (z, y, x) and (view, 3, 3)."
        )
    extreme_indices_xyz = _row_extremes(occupancy, xp)
    if len(extreme_indices_xyz) == 0 or len(view_rotations) == 0:
        return xp.zeros((len(view_rotations), image_size, image_size), dtype=xp.float32)
    backend = _backend(xp)
    body = _cut_body(occupancy, extreme_indices_xyz, backend, xp)
    substrates = _substrates_voxels(body, view_rotations[:, 2], backend, xp)
    surfaces = backend.cast_rays(
        body,
        view_rotations,
        numpy.float32(pixel_size_nm / voxel_size_nm),
        image_size,
        _ray_top_voxels(body),
        xp,
    )
    heights = surfaces - xp.asarray(numpy.array(substrates, dtype=numpy.float32))[:, None, None]
    return xp.maximum(heights, 0, out=heights) * numpy.float32(voxel_size_nm)  # a missed ray is at -inf


def _backend(xp: ModuleType) -> Any:
    """Return the module that runs the loops for ``xp``."""
    if xp is numpy:
        from afmsim import render_cpu

        return render_cpu
    from afmsim import render_gpu

    return render_gpu


def _row_extremes(occupancy: Any, xp: ModuleType) -> Any:
    """Return float32 ``(point, xyz)``: indices of the first and the last occupied voxel of each row along x.

    The farthest point of a body in any direction is among them.
    """
    is_inside = occupancy.astype(bool, copy=False)
    z, y = xp.nonzero(is_inside.any(axis=-1))
    rows = is_inside[z, y]  # (occupied row, x)
    first_x = rows.argmax(axis=-1)
    last_x = rows.shape[-1] - 1 - rows[:, ::-1].argmax(axis=-1)
    ends = [xp.stack([x, y, z], axis=-1) for x in (first_x, last_x)]
    return xp.concatenate(ends).astype(xp.float32)


def _cut_body(occupancy: Any, extreme_indices_xyz: Any, backend: Any, xp: ModuleType) -> Body:
    """Cut the occupied box out of the grid and find its empty blocks."""
    first_xyz = [int(index) for index in extreme_indices_xyz.min(axis=0)]
    last_xyz = [int(index) for index in extreme_indices_xyz.max(axis=0)]
    sizes_xyz = [last - first + 1 for first, last in zip(first_xyz, last_xyz, strict=True)]
    num_blocks_xyz = [-(-(size + LOW_MARGIN + 2) // BLOCK_SIZE) for size in sizes_xyz]
    padded = xp.zeros(tuple(num * BLOCK_SIZE + 1 for num in reversed(num_blocks_xyz)), dtype=xp.uint8)
    target = tuple(slice(LOW_MARGIN, LOW_MARGIN + size) for size in reversed(sizes_xyz))
    source = tuple(slice(first, last + 1) for first, last in zip(first_xyz[::-1], last_xyz[::-1], strict=True))
    padded[target] = occupancy[source]
    grid_center_xyz = (numpy.array(occupancy.shape[::-1], dtype=numpy.float32) - 1) / 2
    return Body(
        occupancy=padded,
        skip_blocks=_skip_distance(backend.find_active_blocks(padded, xp), xp),
        center_xyz=(grid_center_xyz - first_xyz + LOW_MARGIN).astype(numpy.float32),
        end_xyz=numpy.array(sizes_xyz, dtype=numpy.float32) + LOW_MARGIN,
        extremes_xyz=extreme_indices_xyz - xp.asarray(grid_center_xyz),
    )


def _skip_distance(is_active: Any, xp: ModuleType) -> Any:
    """Return the Chebyshev distance to the nearest active block, at most ``MAX_SKIP_BLOCKS``, uint8 ``(z, y, x)``."""
    reached = is_active != 0
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


def _ray_top_voxels(body: Body) -> numpy.float32:
    """Return a height above the grid's centre, in half voxels, below which the whole body lies in any view."""
    corner = numpy.maximum(body.center_xyz, body.end_xyz - body.center_xyz) + 1
    return numpy.float32(numpy.ceil(2 * numpy.linalg.norm(corner)) / 2)


def _substrates_voxels(body: Body, up_directions: numpy.ndarray, backend: Any, xp: ModuleType) -> list[float]:
    """Return the height of the body's lowest point along each up ``(view, xyz)``, from the grid's centre."""
    heights = xp.asarray(up_directions) @ body.extremes_xyz.T  # (view, point)
    is_candidate = heights < heights.min(axis=1, keepdims=True) + 1
    substrates = []
    for view, up_xyz in enumerate(up_directions):
        candidates = xp.flatnonzero(is_candidate[view])
        points_xyz = body.extremes_xyz[candidates] + xp.asarray(body.center_xyz)
        depths = backend.surface_depths(body, points_xyz, up_xyz, xp)
        substrates.append(float((heights[view, candidates] - depths).min()))
    return substrates
