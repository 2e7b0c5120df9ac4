"""The solvent-excluded solid on the CPU (Numba); the CUDA twin is ``kernels/solvent_surface.cu``.

Grids are packed bits of shape ``(z, y, word)``, a margin on each side of the result so that a run never leaves its
row: bit ``x % 64`` of word ``x // 64``. A set bit is outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy
from numba import njit, prange

if TYPE_CHECKING:
    from afmsim.solvent_surface import BallRows

WORD_BITS = 64
ONES = numpy.uint64(0xFFFFFFFFFFFFFFFF)
SLABS_PER_THREAD = 4


def solid_occupancy(spheres: numpy.ndarray, ball: BallRows, grid_size: int) -> numpy.ndarray:
    """Return uint8 ``(z, y, x)``: 1 where no voxel outside all spheres lies within the ball.

    Parameters
    ----------
    spheres
        float32 ``(sphere, xyz and radius)`` in voxels of the result.
    """
    margin = ball.radius + 1
    margin_words = -(-margin // WORD_BITS)
    num_words = -(-grid_size // WORD_BITS) + 2 * margin_words
    num_rows = grid_size + 2 * margin
    outside = numpy.full((num_rows, num_rows, num_words), ONES, dtype=numpy.uint64)
    shifted = spheres + numpy.array([margin_words * WORD_BITS, margin, margin, 0], dtype=numpy.float32)
    _clear_spheres(shifted, min(num_rows, SLABS_PER_THREAD * numba.get_num_threads()), outside)
    reached = numpy.zeros((grid_size, grid_size, num_words), dtype=numpy.uint64)
    for half_width in range(ball.radius + 1):
        if half_width:
            _widen_rows(outside)
        offsets = ball.offsets_zy[ball.first_of_width[half_width] : ball.first_of_width[half_width + 1]]
        _add_rows(outside, offsets + numpy.int32(margin), reached)
    first_byte = margin_words * WORD_BITS // 8
    solid = ~reached.view(numpy.uint8)[:, :, first_byte : first_byte + grid_size // 8]
    return numpy.unpackbits(solid, axis=-1, bitorder="little")


@njit(parallel=True, cache=True)
def _clear_spheres(spheres: numpy.ndarray, num_slabs: int, outside: numpy.ndarray) -> None:
    """Clear the bits of voxel centres within a sphere; a thread owns a slab of layers."""
    num_rows = outside.shape[0]
    for slab in prange(num_slabs):
        first_row = slab * num_rows // num_slabs
        last_row = (slab + 1) * num_rows // num_slabs - 1
        for sphere in range(len(spheres)):
            center_z, radius = spheres[sphere, 2], spheres[sphere, 3]
            lowest = max(first_row, int(numpy.ceil(center_z - radius)))
            highest = min(last_row, int(numpy.floor(center_z + radius)))
            for z in range(lowest, highest + 1):
                _clear_disc(spheres[sphere], numpy.float32(z) - center_z, outside[z])


@njit(cache=True)
def _clear_disc(sphere: numpy.ndarray, offset_z: numpy.float32, layer: numpy.ndarray) -> None:
    """Clear a sphere's runs in one layer ``(y, word)``."""
    center_x, center_y, radius = sphere[0], sphere[1], sphere[3]
    last_bit = layer.shape[1] * WORD_BITS - 1
    disc = radius * radius - offset_z * offset_z
    lowest = max(0, int(numpy.ceil(center_y - radius)))
    highest = min(layer.shape[0] - 1, int(numpy.floor(center_y + radius)))
    for y in range(lowest, highest + 1):
        offset_y = numpy.float32(y) - center_y
        run = disc - offset_y * offset_y
        if run >= numpy.float32(0):
            half_width = numpy.sqrt(run)
            first = max(0, int(numpy.ceil(center_x - half_width)))
            last = min(last_bit, int(numpy.floor(center_x + half_width)))
            if first <= last:
                _clear_run(layer[y], first, last)


@njit(cache=True)
def _clear_run(row: numpy.ndarray, first: int, last: int) -> None:
    """Clear the bits from the first to the last of a run."""
    first_word, last_word = first >> 6, last >> 6
    from_first = ONES << numpy.uint64(first & 63)
    to_last = ONES >> numpy.uint64(63 - (last & 63))
    if first_word == last_word:
        row[first_word] &= ~(from_first & to_last)
        return
    row[first_word] &= ~from_first
    for word in range(first_word + 1, last_word):
        row[word] = numpy.uint64(0)
    row[last_word] &= ~to_last


@njit(parallel=True, cache=True)
def _widen_rows(outside: numpy.ndarray) -> None:
    """Set the neighbours along x of each set bit."""
    one, end = numpy.uint64(1), numpy.uint64(WORD_BITS - 1)
    num_words = outside.shape[2]
    for z in prange(outside.shape[0]):
        for y in range(outside.shape[1]):
            row = outside[z, y]
            before = numpy.uint64(0)
            for word in range(num_words):
                bits = row[word]
                behind = row[word + 1] if word + 1 < num_words else numpy.uint64(0)
                row[word] = bits | (bits << one) | (bits >> one) | (before >> end) | (behind << end)
                before = bits


@njit(parallel=True, cache=True)
def _add_rows(outside: numpy.ndarray, offsets_zy: numpy.ndarray, reached: numpy.ndarray) -> None:
    """Add to each row of the result the rows of the outside at some offsets."""
    num_rows, num_words = reached.shape[1], reached.shape[2]
    num_layer_words = num_rows * num_words
    for z in prange(reached.shape[0]):
        layer = reached[z].reshape(num_layer_words)
        for row in range(len(offsets_zy)):
            first_y = offsets_zy[row, 1]
            other = outside[z + offsets_zy[row, 0], first_y : first_y + num_rows].reshape(num_layer_words)
            for word in range(num_layer_words):
                layer[word] |= other[word]
