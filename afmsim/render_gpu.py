"""Ray casting through an occupancy grid on the GPU: starts the kernels of ``kernels/render.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from hpc.cuda_source import Kernels

if TYPE_CHECKING:
    from afmsim.render import Body, RayScale

SOURCE_PATH = Path(__file__).parent / "kernels" / "render.cu"
TILE_SIZE = 4  # as in the kernels
_LARGEST_INT = 0x7FFFFFFF
_SMALLEST_INT = -0x80000000


def row_spans(occupancy: Any, xp: ModuleType) -> Any:
    """Return int32 ``(z, y, end)``: first and last occupied voxel of each row, -1 in an empty row."""
    grid_size = len(occupancy)
    spans = xp.empty((grid_size, grid_size, 2), dtype=xp.int32)
    Kernels(SOURCE_PATH).start("find_row_spans", grid_size**2, (occupancy, numpy.int32(grid_size), spans))
    return spans


def corner_cells(occupancy: Any, first_xyz: numpy.ndarray, sizes_xyz: numpy.ndarray, xp: ModuleType) -> Any:
    """Return uint8 ``(z, y, x)``: the corners of each cell from a first voxel on, empty outside the grid."""
    cells = xp.empty(tuple(int(size) for size in sizes_xyz[::-1]), dtype=xp.uint8)
    arguments = (occupancy, numpy.int32(len(occupancy)), *_integers(first_xyz), *_integers(cells.shape), cells)
    Kernels(SOURCE_PATH).start("gather_corners", cells.size, arguments)
    return cells


def find_block_kinds(cells: Any, xp: ModuleType) -> Any:
    """Return uint8 ``(block_z, block_y, block_x)``: 0 empty, 2 full, 1 otherwise."""
    kinds = xp.empty(tuple(size // 4 for size in cells.shape), dtype=xp.uint8)
    Kernels(SOURCE_PATH).start("find_block_kinds", kinds.size, (cells, *_integers(kinds.shape), kinds))
    return kinds


def substrates(body: Body, view_rotations: numpy.ndarray, xp: ModuleType) -> Any:
    """Return the height of the body's lowest point from the grid's centre, int32 ``(view,)``, ordered as its float."""
    kernels = Kernels(SOURCE_PATH)
    rotations = xp.asarray(view_rotations)
    num_views, num_rows = len(view_rotations), len(body.row_spans)
    rows = (body.row_spans, numpy.int32(num_rows))
    lowest_ends = xp.full(num_views, _LARGEST_INT, dtype=xp.int32)
    kernels.start("find_lowest_ends", num_rows, (*rows, rotations, lowest_ends), num_views)
    lowest_surfaces = xp.full(num_views, _LARGEST_INT, dtype=xp.int32)
    cells = (body.cells, *_integers(body.cells.shape[1:]), *_integers(body.first_xyz))
    kernels.start("find_substrates", num_rows, (*rows, *cells, rotations, lowest_ends, lowest_surfaces), num_views)
    return lowest_surfaces


def cast_rays(
    body: Body, view_rotations: numpy.ndarray, floors: Any, is_through: bool, scale: RayScale, xp: ModuleType
) -> Any:
    """Return float32 ``(view, row, col)`` in nm, 0 where missed: the surface's height above the floor of its view.

    Rays that go through give the length of their way inside the body instead.
    """
    kernels = Kernels(SOURCE_PATH)
    num_views = len(view_rotations)
    rotations = xp.asarray(view_rotations)
    frame = xp.asarray(numpy.concatenate([body.center_xyz, body.end_xyz]))
    num_tiles = -(-scale.image_size // TILE_SIZE)
    tile_tops = xp.full((num_views, num_tiles, num_tiles), _SMALLEST_INT, dtype=xp.int32)
    blocks = (body.block_kinds, *_integers(body.block_kinds.shape), frame, rotations)
    image = (scale.pixel_size_voxels, numpy.int32(scale.image_size))
    kernels.start("find_tile_tops", body.block_kinds.size, (*blocks, *image, tile_tops), num_views)
    images_nm = xp.empty((num_views, scale.image_size, scale.image_size), dtype=xp.float32)
    arguments = (
        body.cells,
        body.skip_blocks,
        *_integers(body.skip_blocks.shape[1:]),
        tile_tops,
        frame,
        rotations,
        *_integers((num_views, scale.image_size)),
        scale.pixel_size_voxels,
        scale.top_voxels,
        xp.asarray(floors, dtype=xp.int32),
        numpy.int32(is_through),
        scale.voxel_size_nm,
        images_nm,
    )
    kernels.start("cast_rays", images_nm.size, arguments)
    return images_nm


def _integers(numbers: Any) -> tuple[numpy.int32, ...]:
    return tuple(numpy.int32(number) for number in numbers)
