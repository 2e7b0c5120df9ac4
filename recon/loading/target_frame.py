"""
The axes in which a target body lies, and bodies turned into them.

A target keeps the place and the voxel size of the stored one: it is turned about the grid's centre, which is in the
middle of every view. What sticks out of the grid then is cut off. Proteins have a hand, so no frame mirrors them.
"""

import numpy as np
import torch
from numba import njit
from torch.nn import functional

SAMPLES_PER_VOXEL = 2
"""Points per axis of a target's voxel at which a body is sampled."""

FULL = 64
"""What a voxel of `body_shares` holds that is wholly occupied."""

_TIE = 1e-3
"""A voxel that is half full counts as occupied, in spite of rounding."""


def shares_size(grid_size: int, target_size: int) -> int:
    """Return the voxels per axis of `body_shares`: twice the target's, more where the fine grid is no such multiple."""
    ratio = grid_size // target_size
    per_voxel = next((part for part in range(SAMPLES_PER_VOXEL, ratio) if ratio % part == 0), ratio)
    return target_size * per_voxel


def body_shares(occupancy_fine: np.ndarray, target_size: int) -> np.ndarray:
    """
    Reduce a fine grid to what `turned_target` samples.

    Parameters
    ----------
    occupancy_fine
        uint8 `(z, y, x)`, 0 or 1, cubic; its size is a multiple of `target_size`.
    target_size
        Voxels per axis of the target.

    Returns
    -------
    numpy.ndarray
        uint8 `(z, y, x)`: the occupied share of each voxel, `FULL` for all of it.
    """
    grid_size = occupancy_fine.shape[0]
    block = grid_size // shares_size(grid_size, target_size)
    return _mean_of_blocks(np.ascontiguousarray(occupancy_fine), block)


def turned_target(shares: np.ndarray, rotation: np.ndarray, size: int) -> np.ndarray:
    """
    Turn a body about the grid's centre.

    Turned by nothing, it is the stored target, where the fine grid has an even multiple of the target's voxels.

    Parameters
    ----------
    shares
        uint8 `(z, y, x)` of `body_shares`.
    rotation
        float `(3, 3)`: left-multiplies column xyz, stored axes -> target's axes.
    size
        Voxels per axis of the target.

    Returns
    -------
    numpy.ndarray
        uint8 `(z, y, x)`: 1 where at least half of a voxel is occupied.
    """
    num_samples = size * SAMPLES_PER_VOXEL
    inverse = np.asarray(rotation, dtype=np.float64).T
    steps = inverse * (shares.shape[0] / num_samples)
    start = (shares.shape[0] - 1) / 2 - steps.sum(axis=1) * (num_samples - 1) / 2
    return _turned(shares, start, steps, size)


def turned_targets(shares: torch.Tensor, rotations: torch.Tensor, size: int) -> torch.Tensor:
    """
    Do the same as `turned_target` for a batch, on any device; on a CPU it takes several times as long.

    Parameters
    ----------
    shares
        uint8 `(sample, z, y, x)`.
    rotations
        float32 `(sample, 3, 3)`.
    """
    num_samples, num_bodies = size * SAMPLES_PER_VOXEL, len(shares)
    inverse = torch.cat([rotations.transpose(1, 2), rotations.new_zeros(num_bodies, 3, 1)], dim=2)
    grid_shape = [num_bodies, 1, num_samples, num_samples, num_samples]
    points = functional.affine_grid(inverse, grid_shape, align_corners=False)  # (sample, z, y, x, xyz)
    sampled = functional.grid_sample(shares.unsqueeze(1).float(), points, align_corners=False)
    mean = functional.avg_pool3d(sampled, SAMPLES_PER_VOXEL).squeeze(1)  # (sample, z, y, x)
    return (mean >= FULL / 2 - _TIE).to(torch.uint8)


def principal_rotation(shares: np.ndarray) -> np.ndarray:
    """
    Return the rotation from the stored axes to a body's principal axes, longest first.

    An axis points to where the third moment along it is positive: so for the two axes with the larger ones, relative
    to the spread; the remaining axis follows from them, as det is +1. A body that a rotation by 180 degrees maps onto
    itself has two vanishing moments, whose signs then do not matter. Where two spreads are equal, such as in a body
    with a threefold axis, no such frame exists and the axes depend on rounding.

    Returns
    -------
    numpy.ndarray
        float64 `(3, 3)`: left-multiplies column xyz.
    """
    index_zyx = np.nonzero(shares)
    weights = shares[index_zyx].astype(np.float64)
    points = np.stack(index_zyx[::-1], axis=1).astype(np.float64)  # (voxel, xyz)
    points -= weights @ points / weights.sum()
    _, axes = np.linalg.eigh((points * weights[:, None]).T @ points)
    axes = axes.T[::-1]  # (axis, xyz), longest first
    along = points @ axes.T
    skewness = (weights @ along**3) / (weights @ along**2) ** 1.5
    weakest = np.argmin(np.abs(skewness))
    axes = axes * np.where(skewness < 0, -1.0, 1.0)[:, None]
    axes[weakest] *= np.sign(np.linalg.det(axes))
    return axes


@njit(cache=True, error_model="numpy")
def _mean_of_blocks(occupancy, block):  # type: ignore[no-untyped-def]
    """Return uint8 `(z, y, x)`: the mean of cubes of voxels, in steps of 1 / FULL."""
    size = occupancy.shape[0] // block
    sums = np.zeros((size, size, size), dtype=np.int32)
    for z in range(size * block):
        for y in range(size * block):
            row, target = occupancy[z, y], sums[z // block, y // block]
            for x in range(size):
                for part in range(block):
                    target[x] += row[x * block + part]
    return np.floor(sums * (FULL / block**3) + 0.5).astype(np.uint8)


@njit(cache=True, error_model="numpy")
def _turned(shares, start, steps, size):  # type: ignore[no-untyped-def]
    """Sample at `start + steps @ index_xyz` in voxels of `shares`; return the majority of each target's voxel."""
    sums = np.zeros((size, size, size), dtype=np.float32)
    last = shares.shape[0] - 1
    num_samples = size * SAMPLES_PER_VOXEL
    for z in range(num_samples):
        for y in range(num_samples):
            row = sums[z // SAMPLES_PER_VOXEL, y // SAMPLES_PER_VOXEL]
            for x in range(num_samples):
                at_x = start[0] + steps[0, 0] * x + steps[0, 1] * y + steps[0, 2] * z
                at_y = start[1] + steps[1, 0] * x + steps[1, 1] * y + steps[1, 2] * z
                at_z = start[2] + steps[2, 0] * x + steps[2, 1] * y + steps[2, 2] * z
                if at_x <= -1 or at_y <= -1 or at_z <= -1 or at_x >= last + 1 or at_y >= last + 1 or at_z >= last + 1:
                    continue
                low_x, low_y, low_z = int(np.floor(at_x)), int(np.floor(at_y)), int(np.floor(at_z))
                value = 0.0
                for corner in range(8):
                    c_x, c_y, c_z = low_x + (corner & 1), low_y + (corner >> 1 & 1), low_z + (corner >> 2)
                    if 0 <= c_x <= last and 0 <= c_y <= last and 0 <= c_z <= last and shares[c_z, c_y, c_x]:
                        weight = (1 - abs(at_x - c_x)) * (1 - abs(at_y - c_y)) * (1 - abs(at_z - c_z))
                        value += weight * shares[c_z, c_y, c_x]
                row[x // SAMPLES_PER_VOXEL] += value
    limit = SAMPLES_PER_VOXEL**3 * (FULL / 2 - _TIE)
    return (sums >= limit).astype(np.uint8)
