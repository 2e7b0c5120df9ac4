"""Solid voxelization on the CPU (Numba); the CUDA twin is ``kernels/voxelize.cu``.

Three grids of toggle bits, one per ray direction, have the shape ``(z, y, word)``: bit ``x % 32`` of word
``x // 32``. Each axis has one more slot than voxels, which takes the crossings behind the last voxel centre; after
the scan it tells whether the row had an odd number of crossings.
"""

from __future__ import annotations

import numba
import numpy
from numba import njit, prange

STEPS = 1024
STEP_BITS = 10
# Several slabs per thread, because the middle of a body holds more triangles than its ends.
SLABS_PER_THREAD = 4


def solid_occupancy(lattice: numpy.ndarray, faces: numpy.ndarray, grid_size: int) -> numpy.ndarray:
    """Voxelize a mesh whose int32 ``(vertex, xyz)`` lie on the lattice; returns uint8 ``(z, y, x)``."""
    toggle_shape = (grid_size + 1, grid_size + 1, grid_size // 32 + 1)
    toggles = [numpy.zeros(toggle_shape, dtype=numpy.uint32) for _ in range(3)]
    num_slabs = min(grid_size, SLABS_PER_THREAD * numba.get_num_threads())
    for ray_axis in range(3):
        _toggle_crossings(lattice, faces, ray_axis, grid_size, num_slabs, toggles[ray_axis])
    _scan_x(toggles[0])
    _scan_y(toggles[1])
    _scan_z(toggles[2])
    solid = numpy.empty((grid_size, grid_size, (grid_size + 31) // 32), dtype=numpy.uint32)
    _vote(toggles[0], toggles[1], toggles[2], solid)
    return numpy.unpackbits(solid.view(numpy.uint8), axis=-1, count=grid_size, bitorder="little")


@njit(parallel=True, cache=True)
def downsample_majority(occupancy: numpy.ndarray, target_size: int) -> numpy.ndarray:
    """Reduce uint8 ``(z, y, x)``: 1 where at least half of the fine voxels are 1."""
    factor = occupancy.shape[0] // target_size
    coarse = numpy.empty((target_size, target_size, target_size), dtype=numpy.uint8)
    for z in prange(target_size):
        counts = numpy.empty(target_size, dtype=numpy.int64)
        for y in range(target_size):
            counts[:] = 0
            for fine_z in range(z * factor, (z + 1) * factor):
                for fine_y in range(y * factor, (y + 1) * factor):
                    row = occupancy[fine_z, fine_y]
                    for x in range(target_size):
                        for fine_x in range(x * factor, (x + 1) * factor):
                            counts[x] += row[fine_x]
            for x in range(target_size):
                coarse[z, y, x] = 2 * counts[x] >= factor**3
    return coarse


@njit(parallel=True, cache=True)
def _toggle_crossings(
    lattice: numpy.ndarray,
    faces: numpy.ndarray,
    ray_axis: int,
    grid_size: int,
    num_slabs: int,
    toggles: numpy.ndarray,
) -> None:
    """Flip a bit at the first voxel centre on or behind each crossing of a ray and a triangle.

    Rays are numbered by ``(row, col)``: (z, y) for rays along x, (z, x) along y, (y, x) along z. A thread owns the
    rays of a slab of rows, and no two rows share a word.
    """
    col_axis = 1 if ray_axis == 0 else 0
    row_axis = 1 if ray_axis == 2 else 2
    for slab in prange(num_slabs):
        first_row = slab * grid_size // num_slabs
        end_row = (slab + 1) * grid_size // num_slabs
        for face in range(faces.shape[0]):
            row_0 = lattice[faces[face, 0], row_axis]
            row_1 = lattice[faces[face, 1], row_axis]
            row_2 = lattice[faces[face, 2], row_axis]
            lowest_row = max(first_row, -((-min(row_0, row_1, row_2)) >> STEP_BITS))
            highest_row = min(end_row - 1, max(row_0, row_1, row_2) >> STEP_BITS)
            if lowest_row <= highest_row:
                _toggle_triangle(
                    lattice,
                    faces[face],
                    ray_axis,
                    col_axis,
                    row_axis,
                    lowest_row,
                    highest_row,
                    grid_size,
                    toggles,
                )


@njit(cache=True, error_model="numpy")
def _toggle_triangle(
    lattice: numpy.ndarray,
    corners: numpy.ndarray,
    ray_axis: int,
    col_axis: int,
    row_axis: int,
    lowest_row: int,
    highest_row: int,
    grid_size: int,
    toggles: numpy.ndarray,
) -> None:
    """Flip the bits of one triangle for the rays of some rows.

    Edge functions of the point and two corners are twice the areas of the parts that they cut from the triangle:
    the weights of the third corner.
    """
    p, q, r = corners[0], corners[1], corners[2]
    col_p, row_p = numpy.int64(lattice[p, col_axis]), numpy.int64(lattice[p, row_axis])
    col_q, row_q = numpy.int64(lattice[q, col_axis]), numpy.int64(lattice[q, row_axis])
    col_r, row_r = numpy.int64(lattice[r, col_axis]), numpy.int64(lattice[r, row_axis])
    area = (col_q - col_p) * (row_r - row_p) - (col_r - col_p) * (row_q - row_p)
    if area == 0:
        return
    if area < 0:
        area = -area
        q, r = r, q
        col_q, row_q, col_r, row_r = col_r, row_r, col_q, row_q
    depth_p = numpy.int64(lattice[p, ray_axis])
    depth_q = numpy.int64(lattice[q, ray_axis])
    depth_r = numpy.int64(lattice[r, ray_axis])
    lowest_col = max(0, int(-((-min(col_p, col_q, col_r)) >> STEP_BITS)))
    highest_col = min(grid_size - 1, int(max(col_p, col_q, col_r) >> STEP_BITS))
    tie_p = _edge_tie(col_q, row_q, col_r, row_r)
    tie_q = _edge_tie(col_r, row_r, col_p, row_p)
    tie_r = _edge_tie(col_p, row_p, col_q, row_q)
    for row in range(lowest_row, highest_row + 1):
        at_row = row * STEPS
        for col in range(lowest_col, highest_col + 1):
            at_col = col * STEPS
            weight_p = (col_r - col_q) * (at_row - row_q) - (row_r - row_q) * (at_col - col_q)
            weight_q = (col_p - col_r) * (at_row - row_r) - (row_p - row_r) * (at_col - col_r)
            weight_r = area - weight_p - weight_q
            if weight_p >= tie_p and weight_q >= tie_q and weight_r >= tie_r:
                depth = weight_p * depth_p + weight_q * depth_q + weight_r * depth_r
                index = min(max(-((-depth) // (area * STEPS)), 0), grid_size)
                _flip(toggles, ray_axis, row, col, index)


@njit(cache=True)
def _edge_tie(from_col: int, from_row: int, to_col: int, to_row: int) -> int:
    """Return the smallest edge function that counts as inside: 0 if points on the edge belong to it, else 1.

    The rule is that of points moved by an infinitesimal step along columns and a yet smaller one along rows.
    """
    return 0 if to_row < from_row or (to_row == from_row and to_col > from_col) else 1


@njit(cache=True)
def _flip(toggles: numpy.ndarray, ray_axis: int, row: int, col: int, index: int) -> None:
    """Flip the bit of the voxel ``index`` of the ray ``(row, col)``."""
    if ray_axis == 0:
        toggles[row, col, index >> 5] ^= numpy.uint32(1) << numpy.uint32(index & 31)
    elif ray_axis == 1:
        toggles[row, index, col >> 5] ^= numpy.uint32(1) << numpy.uint32(col & 31)
    else:
        toggles[index, row, col >> 5] ^= numpy.uint32(1) << numpy.uint32(col & 31)


@njit(parallel=True, cache=True)
def _scan_x(toggles: numpy.ndarray) -> None:
    """Replace each bit by the parity of the bits up to it along x."""
    for z in prange(toggles.shape[0]):
        for y in range(toggles.shape[1]):
            carry = numpy.uint32(0)
            for word in range(toggles.shape[2]):
                bits = toggles[z, y, word]
                for shift in (1, 2, 4, 8, 16):
                    bits ^= bits << numpy.uint32(shift)
                bits = numpy.uint32(bits ^ carry)
                toggles[z, y, word] = bits
                carry = numpy.uint32(0xFFFFFFFF) if bits >> numpy.uint32(31) else numpy.uint32(0)


@njit(parallel=True, cache=True)
def _scan_y(toggles: numpy.ndarray) -> None:
    """Replace each bit by the parity of the bits up to it along y."""
    for z in prange(toggles.shape[0]):
        for y in range(1, toggles.shape[1]):
            for word in range(toggles.shape[2]):
                toggles[z, y, word] ^= toggles[z, y - 1, word]


@njit(parallel=True, cache=True)
def _scan_z(toggles: numpy.ndarray) -> None:
    """Replace each bit by the parity of the bits up to it along z."""
    for y in prange(toggles.shape[1]):
        for z in range(1, toggles.shape[0]):
            for word in range(toggles.shape[2]):
                toggles[z, y, word] ^= toggles[z - 1, y, word]


@njit(parallel=True, cache=True)
def _vote(inside_x: numpy.ndarray, inside_y: numpy.ndarray, inside_z: numpy.ndarray, solid: numpy.ndarray) -> None:
    """Set the bits that most of the rays with an even number of crossings call inside."""
    grid_size = solid.shape[0]
    for z in prange(grid_size):
        for y in range(grid_size):
            is_odd = (inside_x[z, y, grid_size >> 5] >> numpy.uint32(grid_size & 31)) & numpy.uint32(1)
            mute_x = numpy.uint32(0xFFFFFFFF) if is_odd else numpy.uint32(0)
            for word in range(solid.shape[2]):
                mute_y = inside_y[z, grid_size, word]
                mute_z = inside_z[grid_size, y, word]
                vote_x = inside_x[z, y, word] & ~mute_x
                vote_y = inside_y[z, y, word] & ~mute_y
                vote_z = inside_z[z, y, word] & ~mute_z
                agreed = (vote_x & vote_y) | (vote_y & vote_z) | (vote_z & vote_x)
                alone = (vote_x & mute_y & mute_z) | (vote_y & mute_z & mute_x) | (vote_z & mute_x & mute_y)
                solid[z, y, word] = agreed | alone
