"""
Compiled loops that fit poses (Numba): Levenberg-Marquardt steps, and the shares of contacts and breaches.

What a point costs and what it adds to the normal equations is in `recon.poses.pose_point_kernels`.
"""

import numpy as np
from numba import njit, prange

from recon.poses.pose_point_kernels import LEAST_NORMAL_AGREEMENT, add_pair_equations, agreement, surface_residual


@njit(cache=True, error_model="numpy")
def turn_matrix(turn):  # type: ignore[no-untyped-def]
    """Return the rotation by a rotation vector (Rodrigues)."""
    angle = np.sqrt(turn[0] ** 2 + turn[1] ** 2 + turn[2] ** 2)
    sine = 1.0 if angle < 1e-12 else np.sin(angle) / angle
    cosine = 0.5 if angle < 1e-6 else (1 - np.cos(angle)) / angle**2
    cross = np.zeros((3, 3))
    cross[0, 1], cross[0, 2], cross[1, 2] = -turn[2], turn[1], -turn[0]
    cross[1, 0], cross[2, 0], cross[2, 1] = turn[2], -turn[1], turn[0]
    return np.eye(3) + sine * cross + cosine * (cross @ cross)


@njit(cache=True, error_model="numpy")
def moved_pose(rotation, offset, twist):  # type: ignore[no-untyped-def]
    """Return the pose whose view's points, seen in the world, are those of the old one moved by the twist."""
    new_rotation = rotation @ turn_matrix(twist[:3]).T
    return new_rotation, offset - new_rotation @ twist[3:]


@njit(cache=True, error_model="numpy")
def _equations_against(arrays, cost, view, pose, others, rotations, offsets):  # type: ignore[no-untyped-def]
    """Return matrix, vector and mean cost of one view's pose against the poses of others."""
    matrix, right, back = np.zeros((6, 6)), np.zeros(6), np.zeros(6)
    total = 0.0
    for index in range(len(others)):
        other_pose = (rotations[index], offsets[index])
        total += add_pair_equations(arrays, cost, view, others[index], pose, other_pose, matrix, right)
        total += add_pair_equations(arrays, cost, others[index], view, other_pose, pose, matrix, back)
    _mirror_lower_half(matrix)
    return matrix, right - back, total / (2 * len(others))


@njit(cache=True, error_model="numpy")
def _mirror_lower_half(matrix):  # type: ignore[no-untyped-def]
    for row in range(6):
        for col in range(row):
            matrix[col, row] = matrix[row, col]


@njit(cache=True, error_model="numpy")
def _refine_against(arrays, cost, view, others, rotations, offsets, rotation, offset, steps):  # type: ignore[no-untyped-def]
    """Refine one pose in place by Levenberg-Marquardt; return its mean cost."""
    damping = 1e-2
    matrix, right, total = _equations_against(arrays, cost, view, (rotation, offset), others, rotations, offsets)
    for _ in range(steps):
        damped = matrix.copy()
        for axis in range(6):
            damped[axis, axis] += damping * matrix[axis, axis] + 1e-9
        twist = -np.linalg.solve(damped, right)
        new_rotation, new_offset = moved_pose(rotation, offset, twist)
        new_matrix, new_right, new_total = _equations_against(
            arrays, cost, view, (new_rotation, new_offset), others, rotations, offsets
        )
        if new_total < total:
            is_settled = total - new_total < 1e-4 * total
            rotation[:], offset[:] = new_rotation, new_offset
            matrix, right, total = new_matrix, new_right, new_total
            damping = max(damping / 5, 1e-6)
            if is_settled:
                break
        else:
            damping *= 8
            if damping > 1e4:
                break
    return total


@njit(cache=True, parallel=True, error_model="numpy")
def refine_candidates(arrays, cost, view, others, rotations, offsets, candidate_rotations, candidate_offsets, steps):  # type: ignore[no-untyped-def]
    """
    Refine many poses world -> `view` in place against the fixed poses of `others`; return their costs.

    Parameters
    ----------
    others, rotations, offsets
        int64 `(other,)`, float64 `(other, 3, 3)` and `(other, xyz)`.
    candidate_rotations, candidate_offsets
        float64 `(candidate, 3, 3)` and `(candidate, xyz)`.
    """
    costs = np.empty(len(candidate_rotations))
    for candidate in prange(len(candidate_rotations)):
        costs[candidate] = _refine_against(
            arrays, cost, view, others, rotations, offsets,
            candidate_rotations[candidate], candidate_offsets[candidate], steps,
        )  # fmt: skip
    return costs


@njit(cache=True, parallel=True, error_model="numpy")
def pair_equations(arrays, cost, views, rotations, offsets, pairs):  # type: ignore[no-untyped-def]
    """
    Return float64 `(pair, 6, 6)`, `(pair, 6)` and `(pair,)` cost of directed pairs.

    Parameters
    ----------
    views, rotations, offsets
        int64 `(view,)`: which views; float64 `(view, 3, 3)` and `(view, xyz)`: their poses.
    pairs
        int64 `(pair, 2)`: source and target, positions in `views`.
    """
    matrices, rights = np.zeros((len(pairs), 6, 6)), np.zeros((len(pairs), 6))
    costs = np.empty(len(pairs))
    for pair in prange(len(pairs)):
        source, target = pairs[pair]
        costs[pair] = add_pair_equations(
            arrays, cost, views[source], views[target],
            (rotations[source], offsets[source]), (rotations[target], offsets[target]), matrices[pair], rights[pair],
        )  # fmt: skip
        _mirror_lower_half(matrices[pair])
    return matrices, rights, costs


@njit(cache=True, parallel=True, error_model="numpy")
def fit_shares(arrays, source_poses, target_poses, pairs, contact_band, allowance):  # type: ignore[no-untyped-def]
    """
    Return float64 `(pair, 2)`: the shares of the source's points that touch the target's surface and that break it.

    A point breaks the target's surface where it lies more than `allowance` above the highest pixel next to it, or
    below the substrate.

    Parameters
    ----------
    source_poses, target_poses
        Rotations `(pair, 3, 3)` and offsets `(pair, xyz)` of each.
    pairs
        int64 `(pair, 2)`: source and target view.
    """
    shares = np.zeros((len(pairs), 2))
    for pair in prange(len(pairs)):
        source, target = pairs[pair]
        turn = target_poses[0][pair] @ source_poses[0][pair].T
        shift = target_poses[1][pair] - turn @ source_poses[1][pair] + arrays.centers[target]
        heights, ceiling = arrays.heights[target], arrays.ceilings[target]
        size = heights.shape[0]
        at, normal = np.empty(3), np.empty(3)
        for point in range(arrays.points.shape[1]):
            for axis in range(3):
                at[axis] = shift[axis]
                for part in range(3):
                    at[axis] += turn[axis, part] * arrays.points[source, point, part]
            col = int(np.floor(at[0] / arrays.pixel_cells + size / 2))
            row = int(np.floor(size / 2 - at[1] / arrays.pixel_cells))
            top = ceiling[row, col] if 0 <= col < size and 0 <= row < size else 0.0
            if at[2] > top + allowance or at[2] < -allowance:
                shares[pair, 1] += 1
                continue
            residual = surface_residual(heights, arrays.pixel_cells, at[0], at[1], at[2], arrays.steepest_slope, normal)
            if abs(residual) < contact_band:
                shares[pair, 0] += agreement(turn, arrays.normals[source, point], normal) > LEAST_NORMAL_AGREEMENT
    return shares / arrays.points.shape[1]
