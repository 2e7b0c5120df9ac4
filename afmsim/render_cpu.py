"""Ray casting through an occupancy grid on the CPU (Numba); the CUDA twin is ``kernels/render.cu``.

All arithmetic is in float32, in the order of the CUDA code, so that both give the same picture.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy
from numba import njit, prange

if TYPE_CHECKING:
    from afmsim.render import Body

BLOCK_BITS = 2
HALF = numpy.float32(0.5)
ONE = numpy.float32(1)
TWO = numpy.float32(2)
# Stands for a zero in a direction; 1e-9 voxel per step never leaves a block.
TINY = numpy.float32(1e-9)


def find_active_blocks(occupancy: numpy.ndarray, xp: ModuleType) -> numpy.ndarray:
    """Return uint8 ``(block_z, block_y, block_x)``: 1 where an interpolated value can be above 0."""
    assert xp is numpy
    return _active_blocks(occupancy)


def surface_depths(body: Body, points_xyz: numpy.ndarray, up_xyz: numpy.ndarray, xp: ModuleType) -> numpy.ndarray:
    """Return how far below each point, inside the body, the surface is, float32 ``(point,)`` in voxels."""
    assert xp is numpy
    return _surface_depths(body.occupancy, points_xyz, up_xyz)


def cast_rays(
    body: Body,
    view_rotations: numpy.ndarray,
    pixel_size_voxels: numpy.float32,
    image_size: int,
    top_voxels: numpy.float32,
    xp: ModuleType,
) -> numpy.ndarray:
    """Return the surface's height from the grid's centre in voxels, -inf where missed, ``(view, row, col)``."""
    assert xp is numpy
    surfaces = numpy.empty((len(view_rotations), image_size, image_size), dtype=numpy.float32)
    _cast_rays(
        body.occupancy,
        body.skip_blocks,
        body.center_xyz,
        body.end_xyz,
        view_rotations,
        pixel_size_voxels,
        top_voxels,
        surfaces,
    )
    return surfaces


@njit(cache=True)
def _trilinear(occupancy: numpy.ndarray, x: numpy.float32, y: numpy.float32, z: numpy.float32) -> numpy.float32:
    """Return the occupancy interpolated at a point with coordinates of at least 0."""
    low_x, low_y, low_z = int(x), int(y), int(z)
    part_x, part_y, part_z = x - numpy.float32(low_x), y - numpy.float32(low_y), z - numpy.float32(low_z)
    value_00 = _lerp(occupancy[low_z, low_y, low_x], occupancy[low_z, low_y, low_x + 1], part_x)
    value_01 = _lerp(occupancy[low_z, low_y + 1, low_x], occupancy[low_z, low_y + 1, low_x + 1], part_x)
    value_10 = _lerp(occupancy[low_z + 1, low_y, low_x], occupancy[low_z + 1, low_y, low_x + 1], part_x)
    value_11 = _lerp(occupancy[low_z + 1, low_y + 1, low_x], occupancy[low_z + 1, low_y + 1, low_x + 1], part_x)
    return _lerp(_lerp(value_00, value_01, part_y), _lerp(value_10, value_11, part_y), part_z)


@njit(cache=True)
def _lerp(first: float, second: float, part: numpy.float32) -> numpy.float32:
    """Return the value at ``part`` of the way from the first to the second."""
    return numpy.float32(first) + part * (numpy.float32(second) - numpy.float32(first))


@njit(parallel=True, cache=True)
def _active_blocks(occupancy: numpy.ndarray) -> numpy.ndarray:
    """Mark the blocks that hold an occupied voxel or touch one."""
    num_z, num_y, num_x = occupancy.shape[0] >> 2, occupancy.shape[1] >> 2, occupancy.shape[2] >> 2
    is_active = numpy.zeros((num_z, num_y, num_x), dtype=numpy.uint8)
    for block_z in prange(num_z):
        for block_y in range(num_y):
            for z in range(block_z * 4, block_z * 4 + 5):
                for y in range(block_y * 4, block_y * 4 + 5):
                    for block_x in range(num_x):
                        for x in range(block_x * 4, block_x * 4 + 5):
                            is_active[block_z, block_y, block_x] |= occupancy[z, y, x]
    return is_active


@njit(parallel=True, cache=True)
def _surface_depths(occupancy: numpy.ndarray, points_xyz: numpy.ndarray, up_xyz: numpy.ndarray) -> numpy.ndarray:
    """Find the surface below each point."""
    depths = numpy.empty(len(points_xyz), dtype=numpy.float32)
    for point in prange(len(points_xyz)):
        depths[point] = _surface_depth(occupancy, points_xyz[point], up_xyz)
    return depths


@njit(cache=True, error_model="numpy")
def _surface_depth(occupancy: numpy.ndarray, point_xyz: numpy.ndarray, up_xyz: numpy.ndarray) -> numpy.float32:
    """Go down from a point in half voxels until the value falls below 0.5."""
    depth = numpy.float32(0)
    above = ONE
    value = ONE
    while value >= HALF:
        above = value
        depth += HALF
        value = _trilinear(
            occupancy,
            point_xyz[0] - depth * up_xyz[0],
            point_xyz[1] - depth * up_xyz[1],
            point_xyz[2] - depth * up_xyz[2],
        )
    return depth - HALF * (HALF - value) / (above - value)


@njit(parallel=True, cache=True, error_model="numpy")
def _cast_rays(
    occupancy: numpy.ndarray,
    skip_blocks: numpy.ndarray,
    center_xyz: numpy.ndarray,
    end_xyz: numpy.ndarray,
    view_rotations: numpy.ndarray,
    pixel_size_voxels: numpy.float32,
    top_voxels: numpy.float32,
    surfaces: numpy.ndarray,
) -> None:
    """Cast the rays of all pixels, one row of an image after the other."""
    num_views, image_size, _ = surfaces.shape
    half_size = numpy.float32(image_size - 1) * HALF
    for view_row in prange(num_views * image_size):
        view, row = view_row // image_size, view_row % image_size
        rotation = view_rotations[view]
        view_y = (half_size - numpy.float32(row)) * pixel_size_voxels
        for col in range(image_size):
            view_x = (numpy.float32(col) - half_size) * pixel_size_voxels
            x = center_xyz[0] + (view_x * rotation[0, 0] + view_y * rotation[1, 0])
            y = center_xyz[1] + (view_x * rotation[0, 1] + view_y * rotation[1, 1])
            z = center_xyz[2] + (view_x * rotation[0, 2] + view_y * rotation[1, 2])
            surfaces[view, row, col] = _surface_height(
                occupancy,
                skip_blocks,
                end_xyz,
                x,
                y,
                z,
                rotation[2, 0],
                rotation[2, 1],
                rotation[2, 2],
                top_voxels,
            )


@njit(cache=True, error_model="numpy")
def _surface_height(
    occupancy: numpy.ndarray,
    skip_blocks: numpy.ndarray,
    end_xyz: numpy.ndarray,
    x: numpy.float32,
    y: numpy.float32,
    z: numpy.float32,
    up_x: numpy.float32,
    up_y: numpy.float32,
    up_z: numpy.float32,
    top_voxels: numpy.float32,
) -> numpy.float32:
    """Return the height of the first surface on the ray down through ``(x, y, z)``, the point at height 0."""
    per_x, per_y, per_z = _inverse(up_x), _inverse(up_y), _inverse(up_z)
    low_x, high_x = _heights_inside(x, end_xyz[0], per_x)
    low_y, high_y = _heights_inside(y, end_xyz[1], per_y)
    low_z, high_z = _heights_inside(z, end_xyz[2], per_z)
    lowest = max(low_x, low_y, low_z, -top_voxels)
    highest = min(high_x, high_y, high_z, top_voxels)
    if lowest > highest:
        return numpy.float32(-numpy.inf)
    step = int(numpy.ceil((top_voxels - highest) * TWO))
    last_step = int((top_voxels - lowest) * TWO)
    above = numpy.float32(0)
    while step <= last_step:
        height = top_voxels - HALF * numpy.float32(step)
        at_x, at_y, at_z = x + height * up_x, y + height * up_y, z + height * up_z
        block_x, block_y, block_z = int(at_x) >> BLOCK_BITS, int(at_y) >> BLOCK_BITS, int(at_z) >> BLOCK_BITS
        skip = skip_blocks[block_z, block_y, block_x]
        if skip > 0:
            leave = min(
                _fall_to_border(at_x, block_x, skip, per_x),
                _fall_to_border(at_y, block_y, skip, per_y),
                _fall_to_border(at_z, block_z, skip, per_z),
            )
            step += int(leave * TWO) + 1
            above = numpy.float32(0)
            continue
        value = _trilinear(occupancy, at_x, at_y, at_z)
        if value >= HALF:
            return height + HALF * (value - HALF) / (value - above)
        above = value
        step += 1
    return numpy.float32(-numpy.inf)


@njit(cache=True, error_model="numpy")
def _inverse(up: numpy.float32) -> numpy.float32:
    """Return the height per voxel along an axis."""
    return ONE / (up if abs(up) > TINY else TINY)


@njit(cache=True)
def _heights_inside(at: numpy.float32, end: numpy.float32, per: numpy.float32) -> tuple[numpy.float32, numpy.float32]:
    """Return the lowest and the highest point of a ray between voxel 1 and the end along an axis."""
    first, last = (ONE - at) * per, (end - at) * per
    return min(first, last), max(first, last)


@njit(cache=True)
def _fall_to_border(at: numpy.float32, block: int, skip: int, per: numpy.float32) -> numpy.float32:
    """Return how far a ray falls until it leaves the blocks nearer than ``skip`` along an axis, at most 1000."""
    if per > numpy.float32(0):
        border = numpy.float32((block - skip + 1) << BLOCK_BITS)
    else:
        border = numpy.float32((block + skip) << BLOCK_BITS)
    return min((at - border) * per, numpy.float32(1000))
