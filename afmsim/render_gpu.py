"""Ray casting through an occupancy grid on the GPU: starts the kernels of ``kernels/render.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from hpc.cuda_source import load_kernels

if TYPE_CHECKING:
    from afmsim.render import Body

SOURCE_PATH = Path(__file__).parent / "kernels" / "render.cu"
NUM_THREADS = 128


def find_active_blocks(occupancy: Any, xp: ModuleType) -> Any:
    """Return uint8 ``(block_z, block_y, block_x)``: 1 where an interpolated value can be above 0."""
    is_active = xp.empty(tuple(size // 4 for size in occupancy.shape), dtype=xp.uint8)
    sizes = (numpy.int32(size) for size in is_active.shape)
    _launch("find_active_blocks", is_active.size, (occupancy, *sizes, is_active))
    return is_active


def surface_depths(body: Body, points_xyz: Any, up_xyz: numpy.ndarray, xp: ModuleType) -> Any:
    """Return how far below each point, inside the body, the surface is, float32 ``(point,)`` in voxels."""
    depths = xp.empty(len(points_xyz), dtype=xp.float32)
    points = (xp.ascontiguousarray(points_xyz), numpy.int32(len(points_xyz)))
    _launch("surface_depths", len(points_xyz), (body.occupancy, *_layer_shape(body), *points, *up_xyz, depths))
    return depths


def cast_rays(
    body: Body,
    view_rotations: numpy.ndarray,
    pixel_size_voxels: numpy.float32,
    image_size: int,
    top_voxels: numpy.float32,
    xp: ModuleType,
) -> Any:
    """Return the surface's height from the grid's centre in voxels, -inf where missed, ``(view, row, col)``."""
    surfaces = xp.empty((len(view_rotations), image_size, image_size), dtype=xp.float32)
    arguments = (
        body.occupancy,
        body.skip_blocks,
        *_layer_shape(body),
        xp.asarray(numpy.concatenate([body.center_xyz, body.end_xyz])),
        xp.asarray(view_rotations),
        numpy.int32(len(view_rotations)),
        numpy.int32(image_size),
        pixel_size_voxels,
        top_voxels,
        surfaces,
    )
    _launch("cast_rays", surfaces.size, arguments)
    return surfaces


def _layer_shape(body: Body) -> tuple[numpy.int32, numpy.int32]:
    """Return the number of blocks along y and x."""
    return numpy.int32(body.skip_blocks.shape[1]), numpy.int32(body.skip_blocks.shape[2])


def _launch(name: str, num_threads: int, arguments: tuple[Any, ...]) -> None:
    """Start a kernel with at least ``num_threads`` threads."""
    num_blocks = -(-num_threads // NUM_THREADS)
    load_kernels(SOURCE_PATH).get_function(name)((num_blocks,), (NUM_THREADS,), arguments)
