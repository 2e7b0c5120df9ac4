"""The solvent-excluded solid on the GPU: starts the kernels of ``kernels/solvent_surface.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from hpc.cuda_source import Kernels

if TYPE_CHECKING:
    from afmsim.solvent_surface import BallRows

SOURCE_PATH = Path(__file__).parent / "kernels" / "solvent_surface.cu"
WORD_BITS = 32


def solid_occupancy(spheres: numpy.ndarray, ball: BallRows, grid_size: int, xp: ModuleType) -> Any:
    """Return uint8 ``(z, y, x)``: 1 where no voxel outside all spheres lies in the ball."""
    kernels = Kernels(SOURCE_PATH)
    margin = ball.radius + 1
    margin_words = -(-margin // WORD_BITS)
    num_words = -(-grid_size // WORD_BITS) + 2 * margin_words
    num_rows = grid_size + 2 * margin
    outside = xp.full((num_rows, num_rows, num_words), 0xFFFFFFFF, dtype=xp.uint32)
    widened = xp.empty_like(outside)
    reached = xp.zeros((grid_size, grid_size, num_words), dtype=xp.uint32)
    shape = (numpy.int32(num_rows), numpy.int32(num_words))
    shifted = spheres + numpy.array([margin_words * WORD_BITS, margin, margin, 0], dtype=numpy.float32)
    kernels.start_blocks("clear_spheres", len(spheres), (xp.asarray(shifted), *shape, outside))
    offsets_zy = xp.asarray(ball.offsets_zy + numpy.int32(margin))
    for half_width in range(ball.radius + 1):
        if half_width:
            kernels.start("widen_rows", outside.size, (outside, *shape, widened))
            outside, widened = widened, outside
        rows = offsets_zy[ball.first_of_width[half_width] : ball.first_of_width[half_width + 1]]
        if len(rows):
            sizes = (numpy.int32(len(rows)), numpy.int32(grid_size))
            kernels.start("add_rows", reached.size, (outside, *shape, rows, *sizes, reached))
    occupancy = xp.empty((grid_size,) * 3, dtype=xp.uint8)
    words = (numpy.int32(num_words), numpy.int32(margin_words), numpy.int32(grid_size))
    kernels.start("unpack_solid", occupancy.size, (reached, *words, occupancy))
    return occupancy
