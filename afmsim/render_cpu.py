"""Ray casting through an occupancy grid on the CPU (Numba); the CUDA twin is ``kernels/render.cu``.

All arithmetic is in float32, in the order of the CUDA code, so that both give the same picture.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy
from numba import njit, prange

if TYPE_CHECKING:
    from afmsim.render import Body, RayScale

BLOCK_BITS = 2
LOW_MARGIN = 2  # as in afmsim.render
HALF = numpy.float32(0.5)
ONE = numpy.float32(1)
TWO = numpy.float32(2)
TILE_SIZE = 4  # pixels along an axis of a tile
MARGIN = numpy.float32(0.01)  # voxels; far more than float32 rounds, far less than a step of a ray
# Stands for a zero in a direction; 1e-9 voxel per step never leaves a block.
TINY = numpy.float32(1e-9)


def row_spans(occupancy: numpy.ndarray, xp: ModuleType) -> numpy.ndarray:
    """Return int32 ``(z, y, end)``: first and last occupied voxel of each row, -1 in an empty row."""
    assert xp is numpy
    return _row_spans(occupancy)


def corner_cells(
    occupancy: numpy.ndarray, first_xyz: numpy.ndarray, sizes_xyz: numpy.ndarray, xp: ModuleType
) -> numpy.ndarray:
    """Return uint8 ``(z, y, x)``: the corners of each cell from a first voxel on, empty outside the grid."""
    assert xp is numpy
    padded = numpy.zeros(tuple(int(size) + 1 for size in sizes_xyz[::-1]), dtype=numpy.uint8)
    source, target = [], []
    for first, size, grid_size in zip(first_xyz[::-1], padded.shape, occupancy.shape, strict=True):
        start, stop = max(0, int(first)), min(grid_size, int(first) + size)
        source.append(slice(start, stop))
        target.append(slice(start - int(first), stop - int(first)))
    padded[tuple(target)] = occupancy[tuple(source)]
    return _corner_cells(padded)


def find_block_kinds(cells: numpy.ndarray, xp: ModuleType) -> numpy.ndarray:
    """Return uint8 ``(block_z, block_y, block_x)``: 0 empty, 2 full, 1 otherwise."""
    assert xp is numpy
    return _block_kinds(cells)


def substrates(body: Body, view_rotations: numpy.ndarray, xp: ModuleType) -> numpy.ndarray:
    """Return the height of the body's lowest point from the grid's centre in voxels, float32 ``(view,)``."""
    assert xp is numpy
    return _substrates(body.row_spans, body.cells, body.first_xyz, view_rotations)


def cast_rays(
    body: Body,
    view_rotations: numpy.ndarray,
    floors: numpy.ndarray,
    is_through: bool,
    scale: RayScale,
    xp: ModuleType,
) -> numpy.ndarray:
    """Return float32 ``(view, row, col)`` in nm, 0 where missed: the surface's height above the floor of its view.

    Rays that go through give the length of their way inside the body instead.
    """
    assert xp is numpy
    tile_tops = _tile_tops(body.block_kinds, body.center_xyz, view_rotations, scale.pixel_size_voxels, scale.image_size)
    images_nm = numpy.empty((len(view_rotations), scale.image_size, scale.image_size), dtype=numpy.float32)
    _cast_rays(
        body.cells,
        body.skip_blocks,
        tile_tops,
        body.center_xyz,
        body.end_xyz,
        view_rotations,
        scale.pixel_size_voxels,
        scale.top_voxels,
        floors,
        is_through,
        scale.voxel_size_nm,
        images_nm,
    )
    return images_nm


@njit(parallel=True, cache=True)
def _row_spans(occupancy: numpy.ndarray) -> numpy.ndarray:
    """Find the ends of each row from both sides."""
    num_z, num_y, num_x = occupancy.shape
    spans = numpy.empty((num_z, num_y, 2), dtype=numpy.int32)
    for z in prange(num_z):
        for y in range(num_y):
            row = occupancy[z, y]
            first = 0
            while first < num_x and row[first] == 0:
                first += 1
            last = num_x - 1
            while last > first and row[last] == 0:
                last -= 1
            is_empty = first == num_x
            spans[z, y, 0] = -1 if is_empty else first
            spans[z, y, 1] = -1 if is_empty else last
    return spans


@njit(parallel=True, cache=True)
def _corner_cells(padded: numpy.ndarray) -> numpy.ndarray:
    """Gather the eight corners of each cell."""
    num_z, num_y, num_x = padded.shape[0] - 1, padded.shape[1] - 1, padded.shape[2] - 1
    cells = numpy.empty((num_z, num_y, num_x), dtype=numpy.uint8)
    for z in prange(num_z):
        for y in range(num_y):
            row_00, row_01 = padded[z, y], padded[z, y + 1]
            row_10, row_11 = padded[z + 1, y], padded[z + 1, y + 1]
            for x in range(num_x):
                corners = row_00[x] | row_00[x + 1] << 1 | row_01[x] << 2 | row_01[x + 1] << 3
                corners |= row_10[x] << 4 | row_10[x + 1] << 5 | row_11[x] << 6 | row_11[x + 1] << 7
                cells[z, y, x] = corners
    return cells


@njit(parallel=True, cache=True)
def _block_kinds(cells: numpy.ndarray) -> numpy.ndarray:
    """Look at all cells of each block."""
    num_z, num_y, num_x = cells.shape[0] >> 2, cells.shape[1] >> 2, cells.shape[2] >> 2
    kinds = numpy.empty((num_z, num_y, num_x), dtype=numpy.uint8)
    for block_z in prange(num_z):
        any_corner = numpy.empty(num_x * 4, dtype=numpy.uint8)
        all_corners = numpy.empty(num_x * 4, dtype=numpy.uint8)
        for block_y in range(num_y):
            any_corner[:] = 0
            all_corners[:] = 255
            for z in range(block_z * 4, block_z * 4 + 4):
                for y in range(block_y * 4, block_y * 4 + 4):
                    row = cells[z, y]
                    for x in range(num_x * 4):
                        any_corner[x] |= row[x]
                        all_corners[x] &= row[x]
            for block_x in range(num_x):
                any_of = any_corner[block_x * 4 : block_x * 4 + 4]
                all_of = all_corners[block_x * 4 : block_x * 4 + 4]
                is_full = (all_of[0] & all_of[1] & all_of[2] & all_of[3]) == 255
                is_empty = (any_of[0] | any_of[1] | any_of[2] | any_of[3]) == 0
                kinds[block_z, block_y, block_x] = 0 if is_empty else (2 if is_full else 1)
    return kinds


@njit(parallel=True, cache=True)
def _tile_tops(
    block_kinds: numpy.ndarray,
    center_xyz: numpy.ndarray,
    view_rotations: numpy.ndarray,
    pixel_size_voxels: numpy.float32,
    image_size: int,
) -> numpy.ndarray:
    """Return a height above which each tile of pixels sees nothing, -inf where it sees nothing at all.

    A block's samples lie within half a block of its middle along each axis.
    """
    num_tiles = (image_size + TILE_SIZE - 1) // TILE_SIZE
    tops = numpy.full((len(view_rotations), num_tiles, num_tiles), -numpy.inf, dtype=numpy.float32)
    half_size = numpy.float32(image_size - 1) * HALF
    num_z, num_y, num_x = block_kinds.shape
    for view in prange(len(view_rotations)):
        rotation = view_rotations[view]
        reach_x = _block_reach(rotation[0]) / pixel_size_voxels
        reach_y = _block_reach(rotation[1]) / pixel_size_voxels
        reach_up = _block_reach(rotation[2])
        for block_z in range(num_z):
            for block_y in range(num_y):
                for block_x in range(num_x):
                    if block_kinds[block_z, block_y, block_x] == 1:
                        x = numpy.float32(block_x * 4 + 2) - center_xyz[0]
                        y = numpy.float32(block_y * 4 + 2) - center_xyz[1]
                        z = numpy.float32(block_z * 4 + 2) - center_xyz[2]
                        view_x = (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) / pixel_size_voxels
                        view_y = (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) / pixel_size_voxels
                        top = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + reach_up
                        first_col, last_col = _tiles_within(half_size + view_x, reach_x, num_tiles)
                        first_row, last_row = _tiles_within(half_size - view_y, reach_y, num_tiles)
                        for row in range(first_row, last_row + 1):
                            for col in range(first_col, last_col + 1):
                                tops[view, row, col] = max(tops[view, row, col], top)
    return tops


@njit(cache=True)
def _block_reach(direction_xyz: numpy.ndarray) -> numpy.float32:
    """Return how far a block reaches from its middle along a direction, with a margin for rounding, in voxels."""
    return TWO * (abs(direction_xyz[0]) + abs(direction_xyz[1]) + abs(direction_xyz[2])) + MARGIN


@njit(cache=True)
def _tiles_within(middle: numpy.float32, reach: numpy.float32, num_tiles: int) -> tuple[int, int]:
    """Return the first and the last tile of the pixels within reach of a place on an image."""
    first = int(numpy.floor(middle - reach)) // TILE_SIZE
    last = int(numpy.ceil(middle + reach)) // TILE_SIZE
    return max(0, first), min(num_tiles - 1, last)


@njit(parallel=True, cache=True)
def _substrates(
    spans: numpy.ndarray, cells: numpy.ndarray, first_xyz: numpy.ndarray, view_rotations: numpy.ndarray
) -> numpy.ndarray:
    """Return the height of the body's lowest point in each view from the grid's centre in voxels, ``(view,)``."""
    substrates = numpy.empty(len(view_rotations), dtype=numpy.float32)
    for view in prange(len(view_rotations)):
        substrates[view] = _substrate(spans, cells, first_xyz, view_rotations[view, 2])
    return substrates


@njit(cache=True)
def _substrate(
    spans: numpy.ndarray, cells: numpy.ndarray, first_xyz: numpy.ndarray, up_xyz: numpy.ndarray
) -> numpy.float32:
    """Return the lowest crossing of the surface below the lowest ends of rows."""
    grid_size = len(spans)
    lowest = numpy.float32(numpy.inf)
    for z in range(grid_size):
        for y in range(grid_size):
            if spans[z, y, 0] >= 0:
                for end in range(2):
                    lowest = min(lowest, _end_height(spans[z, y, end], y, z, up_xyz, grid_size))
    substrate = numpy.float32(numpy.inf)
    for z in range(grid_size):
        for y in range(grid_size):
            if spans[z, y, 0] >= 0:
                for end in range(2):
                    height = _end_height(spans[z, y, end], y, z, up_xyz, grid_size)
                    if height < lowest + ONE:
                        depth = _surface_depth(cells, spans[z, y, end], y, z, first_xyz, up_xyz)
                        substrate = min(substrate, height - depth)
    return substrate


@njit(cache=True)
def _end_height(x: int, y: int, z: int, up_xyz: numpy.ndarray, grid_size: int) -> numpy.float32:
    """Return the height of a voxel centre from the grid's centre."""
    half_size = numpy.float32(grid_size - 1) * HALF
    height_x = (numpy.float32(x) - half_size) * up_xyz[0]
    height_y = (numpy.float32(y) - half_size) * up_xyz[1]
    return height_x + height_y + (numpy.float32(z) - half_size) * up_xyz[2]


@njit(cache=True)
def _interpolated(corners: int, part_x: numpy.float32, part_y: numpy.float32, part_z: numpy.float32) -> numpy.float32:
    """Return the trilinear interpolation of the corners' bits within a cell."""
    value_00 = _lerp(corners & 1, corners >> 1 & 1, part_x)
    value_01 = _lerp(corners >> 2 & 1, corners >> 3 & 1, part_x)
    value_10 = _lerp(corners >> 4 & 1, corners >> 5 & 1, part_x)
    value_11 = _lerp(corners >> 6 & 1, corners >> 7, part_x)
    return _lerp(_lerp(value_00, value_01, part_y), _lerp(value_10, value_11, part_y), part_z)


@njit(cache=True)
def _sample(cells: numpy.ndarray, x: numpy.float32, y: numpy.float32, z: numpy.float32) -> numpy.float32:
    """Return the occupancy interpolated at a point with coordinates of at least 0."""
    low_x, low_y, low_z = int(x), int(y), int(z)
    corners = int(cells[low_z, low_y, low_x])
    if corners == 0:
        return numpy.float32(0)
    if corners == 255:
        return ONE
    return _interpolated(corners, x - numpy.float32(low_x), y - numpy.float32(low_y), z - numpy.float32(low_z))


@njit(cache=True)
def _lerp(first: float, second: float, part: numpy.float32) -> numpy.float32:
    """Return the value at ``part`` of the way from the first to the second."""
    return numpy.float32(first) + part * (numpy.float32(second) - numpy.float32(first))


@njit(cache=True, error_model="numpy")
def _surface_depth(
    cells: numpy.ndarray, x: int, y: int, z: int, first_xyz: numpy.ndarray, up_xyz: numpy.ndarray
) -> numpy.float32:
    """Go down from an occupied voxel's centre in half voxels until the value falls below 0.5."""
    at_x = numpy.float32(x - first_xyz[0] + LOW_MARGIN)
    at_y = numpy.float32(y - first_xyz[1] + LOW_MARGIN)
    at_z = numpy.float32(z - first_xyz[2] + LOW_MARGIN)
    depth = numpy.float32(0)
    above = ONE
    value = ONE
    while value >= HALF:
        above = value
        depth += HALF
        value = _sample(cells, at_x - depth * up_xyz[0], at_y - depth * up_xyz[1], at_z - depth * up_xyz[2])
    return depth - HALF * (HALF - value) / (above - value)


@njit(parallel=True, cache=True, error_model="numpy")
def _cast_rays(
    cells: numpy.ndarray,
    skip_blocks: numpy.ndarray,
    tile_tops: numpy.ndarray,
    center_xyz: numpy.ndarray,
    end_xyz: numpy.ndarray,
    view_rotations: numpy.ndarray,
    pixel_size_voxels: numpy.float32,
    top_voxels: numpy.float32,
    floors: numpy.ndarray,
    is_through: bool,
    voxel_size_nm: numpy.float32,
    images_nm: numpy.ndarray,
) -> None:
    """Cast the rays of all pixels, one row of an image after the other."""
    num_views, image_size, _ = images_nm.shape
    half_size = numpy.float32(image_size - 1) * HALF
    for view_row in prange(num_views * image_size):
        view, row = view_row // image_size, view_row % image_size
        rotation = view_rotations[view]
        view_y = (half_size - numpy.float32(row)) * pixel_size_voxels
        for col in range(image_size):
            tile_top = tile_tops[view, row // TILE_SIZE, col // TILE_SIZE]
            if tile_top == numpy.float32(-numpy.inf):
                images_nm[view, row, col] = 0
                continue
            view_x = (numpy.float32(col) - half_size) * pixel_size_voxels
            x = center_xyz[0] + (view_x * rotation[0, 0] + view_y * rotation[1, 0])
            y = center_xyz[1] + (view_x * rotation[0, 1] + view_y * rotation[1, 1])
            z = center_xyz[2] + (view_x * rotation[0, 2] + view_y * rotation[1, 2])
            reached = _march(
                cells,
                skip_blocks,
                end_xyz,
                x,
                y,
                z,
                rotation[2, 0],
                rotation[2, 1],
                rotation[2, 2],
                top_voxels,
                tile_top,
                is_through,
            )
            # A missed ray is at -inf.
            images_nm[view, row, col] = max(reached - floors[view], numpy.float32(0)) * voxel_size_nm


@njit(cache=True, error_model="numpy")
def _march(
    cells: numpy.ndarray,
    skip_blocks: numpy.ndarray,
    end_xyz: numpy.ndarray,
    x: numpy.float32,
    y: numpy.float32,
    z: numpy.float32,
    up_x: numpy.float32,
    up_y: numpy.float32,
    up_z: numpy.float32,
    top_voxels: numpy.float32,
    tile_top: numpy.float32,
    is_through: bool,
) -> numpy.float32:
    """Return the height of the first surface on the ray down through ``(x, y, z)``, the point at height 0.

    A ray that goes through returns the sum of its samples times their distance, its way inside the body.
    """
    per_x, per_y, per_z = _inverse(up_x), _inverse(up_y), _inverse(up_z)
    low_x, high_x = _heights_inside(x, end_xyz[0], per_x)
    low_y, high_y = _heights_inside(y, end_xyz[1], per_y)
    low_z, high_z = _heights_inside(z, end_xyz[2], per_z)
    lowest = max(low_x, low_y, low_z, -top_voxels)
    highest = min(high_x, high_y, high_z, tile_top)
    if lowest > highest:
        return numpy.float32(-numpy.inf)
    step = int(numpy.ceil((top_voxels - highest) * TWO))
    last_step = int((top_voxels - lowest) * TWO)
    above = numpy.float32(0)
    inside = numpy.float32(0)
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
        value = _sample(cells, at_x, at_y, at_z)
        inside += value
        if value >= HALF and not is_through:
            return height + HALF * (value - HALF) / (value - above)
        above = value
        step += 1
    return inside * HALF if is_through else numpy.float32(-numpy.inf)


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
