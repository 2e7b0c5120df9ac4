"""
What the surface points of one view cost in another, and how they move its pose (compiled by Numba).

A pose maps points of the world into a view: `p_view = rotation @ p_world + offset`. For a directed pair, the surface
points of a source are brought into a target and cost there

- on the distance grid, with d the signed distance to what the target allows (above 0 outside):
  clip**2 for d >= clip, d**2 for -band < d < clip, band**2 for d <= -band (hidden from the target);
- on the surface, with r the point-to-plane distance (Chen and Medioni, Image Vision Comput. 10, 145, 1992) to the
  raw heights: r**2 where it is below a band and the normals agree, else the square of the band.

The grid leads from far away and keeps points where they are allowed; the surface is exact where both views see it.

Poses move by a twist (turn, shift) of the world that is applied to the points of a view: the residual of a directed
pair changes by `a . (twist_source - twist_target)` with `a = (p_world x g, g)` and g the residual's gradient in the
world's axes. One 6 x 6 matrix per directed pair thus makes up the normal equations of all poses, a graph Laplacian
of 6 x 6 blocks.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_OUTSIDE = np.float32(1e6)
LEAST_NORMAL_AGREEMENT = 0.8


class FitArrays(NamedTuple):
    """Arrays of all views; see `recon.poses.view_stack.ViewStack`."""

    points: np.ndarray
    normals: np.ndarray
    distance: np.ndarray
    corners: np.ndarray
    heights: np.ndarray
    ceilings: np.ndarray
    centers: np.ndarray
    pixel_cells: float
    steepest_slope: float


class FitCost(NamedTuple):
    """What a point costs, in cells; the surface part is divided by the square of its band."""

    band: float
    clip: float
    surface_band: float
    grid_weight: float
    surface_weight: float


@njit(cache=True, error_model="numpy")
def distance_and_gradient(distance, x, y, z, gradient):  # type: ignore[no-untyped-def]
    """Return the trilinear distance at a point in grid indices and write its gradient; far outside the grid."""
    num_z, num_y, num_x = distance.shape
    gradient[0] = gradient[1] = gradient[2] = 0.0
    if not (0 <= x < num_x - 1 and 0 <= y < num_y - 1 and 0 <= z < num_z - 1):
        return _OUTSIDE
    low_x, low_y, low_z = int(x), int(y), int(z)
    part_x, part_y, part_z = x - low_x, y - low_y, z - low_z
    d000, d001 = distance[low_z, low_y, low_x], distance[low_z, low_y, low_x + 1]
    d010, d011 = distance[low_z, low_y + 1, low_x], distance[low_z, low_y + 1, low_x + 1]
    d100, d101 = distance[low_z + 1, low_y, low_x], distance[low_z + 1, low_y, low_x + 1]
    d110, d111 = distance[low_z + 1, low_y + 1, low_x], distance[low_z + 1, low_y + 1, low_x + 1]
    d00, d01 = d000 + part_x * (d001 - d000), d010 + part_x * (d011 - d010)
    d10, d11 = d100 + part_x * (d101 - d100), d110 + part_x * (d111 - d110)
    d0, d1 = d00 + part_y * (d01 - d00), d10 + part_y * (d11 - d10)
    slope_0 = (d001 - d000) + part_y * ((d011 - d010) - (d001 - d000))
    slope_1 = (d101 - d100) + part_y * ((d111 - d110) - (d101 - d100))
    gradient[0] = slope_0 + part_z * (slope_1 - slope_0)
    gradient[1] = (d01 - d00) + part_z * ((d11 - d10) - (d01 - d00))
    gradient[2] = d1 - d0
    return d0 + part_z * (d1 - d0)


@njit(cache=True, error_model="numpy")
def surface_residual(heights, pixel, x, y, z, steepest, normal):  # type: ignore[no-untyped-def]
    """
    Return the signed distance of a point to the plane of the surface below or above it, and write that normal.

    Positions count from the image's centre on the substrate; returns nan next to the background and on walls.
    """
    size = heights.shape[0]
    col, row = x / pixel + (size - 1) / 2, (size - 1) / 2 - y / pixel
    if not (0 <= col < size - 1 and 0 <= row < size - 1):
        return np.nan
    low_col, low_row = int(col), int(row)
    part_col, part_row = col - low_col, row - low_row
    h00, h01 = heights[low_row, low_col], heights[low_row, low_col + 1]
    h10, h11 = heights[low_row + 1, low_col], heights[low_row + 1, low_col + 1]
    if min(min(h00, h01), min(h10, h11)) <= 0:
        return np.nan
    right_upper, right_lower = h01 - h00, h11 - h10
    slope_x = (right_upper + part_row * (right_lower - right_upper)) / pixel
    upper, lower = h00 + part_col * right_upper, h10 + part_col * right_lower
    slope_y = -(lower - upper) / pixel
    if slope_x * slope_x + slope_y * slope_y > steepest * steepest:
        return np.nan
    normal[2] = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    normal[0], normal[1] = -slope_x * normal[2], -slope_y * normal[2]
    return (z - (upper + part_row * (lower - upper))) * normal[2]


@njit(cache=True, error_model="numpy")
def accumulate(w_x, w_y, w_z, arm, residual, share, matrix, right):  # type: ignore[no-untyped-def]
    """Complete the arm of a point of the world, whose last three parts are set, and add its equation."""
    arm[0] = w_y * arm[5] - w_z * arm[4]
    arm[1] = w_z * arm[3] - w_x * arm[5]
    arm[2] = w_x * arm[4] - w_y * arm[3]
    for row in range(6):
        right[row] += share * arm[row] * residual
        for col in range(row + 1):
            matrix[row, col] += share * arm[row] * arm[col]


@njit(cache=True, error_model="numpy")
def add_pair_equations(arrays, cost, source, target, source_pose, target_pose, matrix, right):  # type: ignore[no-untyped-def]
    """Add a directed pair's 6 x 6 matrix (lower half) and 6-vector; return its mean cost per point."""
    points, normals = arrays.points[source], arrays.normals[source]
    distance, corner, heights = arrays.distance[target], arrays.corners[target], arrays.heights[target]
    center = arrays.centers[target]
    source_rotation, source_offset = source_pose
    target_rotation, target_offset = target_pose
    turn = target_rotation @ source_rotation.T
    gradient, arm, world, at = np.empty(3), np.empty(6), np.empty(3), np.empty(3)
    share = 1.0 / len(points)
    grid_share, surface_share = share * cost.grid_weight, share * cost.surface_weight / cost.surface_band**2
    total = 0.0
    for point in range(len(points)):
        for axis in range(3):
            world[axis] = 0.0
            for part in range(3):
                world[axis] += source_rotation[part, axis] * (points[point, part] - source_offset[part])
        for axis in range(3):
            at[axis] = target_offset[axis]
            for part in range(3):
                at[axis] += target_rotation[axis, part] * world[part]
        d = distance_and_gradient(distance, at[0] - corner[0], at[1] - corner[1], at[2] - corner[2], gradient)
        if d >= cost.clip:
            total += grid_share * cost.clip**2
        elif d <= -cost.band:
            total += grid_share * cost.band**2
        else:
            total += grid_share * d * d
            _turn_back(target_rotation, gradient, arm)
            accumulate(world[0], world[1], world[2], arm, d, grid_share, matrix, right)
        if surface_share > 0:
            residual = surface_residual(
                heights, arrays.pixel_cells, at[0] + center[0], at[1] + center[1], at[2] + center[2],
                arrays.steepest_slope, gradient,
            )  # fmt: skip
            if abs(residual) < cost.surface_band and agreement(turn, normals[point], gradient) > LEAST_NORMAL_AGREEMENT:
                total += surface_share * residual * residual
                _turn_back(target_rotation, gradient, arm)
                accumulate(world[0], world[1], world[2], arm, residual, surface_share, matrix, right)
            else:
                total += surface_share * cost.surface_band**2
    return total


@njit(cache=True, error_model="numpy")
def _turn_back(rotation, vector, arm):  # type: ignore[no-untyped-def]
    """Write a view's vector in the world's axes into the last three parts of an arm."""
    for axis in range(3):
        arm[3 + axis] = rotation[0, axis] * vector[0] + rotation[1, axis] * vector[1] + rotation[2, axis] * vector[2]


@njit(cache=True, error_model="numpy")
def agreement(turn, source_normal, target_normal):  # type: ignore[no-untyped-def]
    """Return the cosine between a source's normal, turned into the target, and the target's."""
    cosine = 0.0
    for axis in range(3):
        for part in range(3):
            cosine += turn[axis, part] * source_normal[part] * target_normal[axis]
    return cosine
