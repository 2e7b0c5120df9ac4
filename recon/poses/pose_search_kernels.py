"""
Compiled loops of the coarse search of one view against another (Numba).

A surface point of one view, brought into the frame of another, must not lie outside what that view allows, and is
good evidence where it lies on that view's surface. Its cost in square cells, with d the signed distance (above 0
outside), is

    clip**2  for d >= clip,  d**2  for -band < d < clip,  band**2  for d <= -band (hidden from that view).
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange


class SearchCost(NamedTuple):
    """What a pose costs in the coarse search, lengths in cells."""

    band: float
    clip: float
    num_points: int
    """points of each view, of which every `step`-th is taken"""
    step: int
    substrate_weight: float
    """weight of what the substrate says of an offset"""
    prior_weight: float
    """weight of an offset of zero"""


@njit(cache=True, error_model="numpy")
def fit_cost(points, rotation, offset, distance, corner, band, clip, step):  # type: ignore[no-untyped-def]
    """Return the mean cost of every `step`-th point `(point, xyz)` in the nearest cell of a distance grid."""
    num_z, num_y, num_x = distance.shape
    base_x, base_y, base_z = offset[0] - corner[0] + 0.5, offset[1] - corner[1] + 0.5, offset[2] - corner[2] + 0.5
    total = 0.0
    count = 0
    for point in range(0, len(points), step):
        p_x, p_y, p_z = points[point, 0], points[point, 1], points[point, 2]
        x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + base_x
        y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + base_y
        z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + base_z
        d = clip
        if 0 <= x < num_x and 0 <= y < num_y and 0 <= z < num_z:
            d = min(max(distance[int(z), int(y), int(x)], -band), clip)
        total += d * d
        count += 1
    return total / count


@njit(cache=True, parallel=True, error_model="numpy")
def search_costs(rotations, offsets, points, distance, corners, source, target, band, clip, step):  # type: ignore[no-untyped-def]
    """Return float32 `(candidate,)`: cost of each pose source -> target, points of both views in the other one."""
    costs = np.empty(len(rotations), dtype=np.float32)
    for candidate in prange(len(rotations)):
        rotation, offset = rotations[candidate], offsets[candidate]
        inverse = rotation.T
        back = np.empty(3, dtype=np.float32)
        for axis in range(3):
            back[axis] = -(inverse[axis, 0] * offset[0] + inverse[axis, 1] * offset[1] + inverse[axis, 2] * offset[2])
        costs[candidate] = fit_cost(
            points[source], rotation, offset, distance[target], corners[target], band, clip, step
        ) + fit_cost(points[target], inverse, back, distance[source], corners[source], band, clip, step)
    return costs


@njit(cache=True, parallel=True, error_model="numpy")
def support_offsets(rotations, directions, supports, support_map, heights, substrate_weight, prior_weight):  # type: ignore[no-untyped-def]
    """
    Return for each rotation source -> target the offset by which the support functions fit best.

    A body's extreme point in a direction u that does not point down is visible from above (a point of the body above
    it would lie farther along u). So where u points up in both views, both know the body's support function h there,
    and `h_target(R u) = h_source(u) + offset . R u`; where one view's downward direction points up in the other one,
    the substrate gives such an equation too. Least squares, with a weak pull to zero.

    Parameters
    ----------
    rotations
        float32 `(candidate, 3, 3)`.
    directions, supports
        float32 `(direction, xyz)`, and `(direction,)` with the support of the source.
    support_map
        float32 `(y, x)` of the target.
    heights
        Heights of the source's and of the target's origin above the substrate.
    """
    source_height, target_height = heights
    half = (support_map.shape[0] - 1) / 2
    offsets = np.empty((len(rotations), 3), dtype=np.float32)
    for candidate in prange(len(rotations)):
        rotation = rotations[candidate]
        normal = np.zeros((3, 3))
        right = np.zeros(3)
        for axis in range(3):
            normal[axis, axis] = prior_weight
        v = np.empty(3)
        for index in range(len(directions)):
            for axis in range(3):
                v[axis] = (
                    rotation[axis, 0] * directions[index, 0]
                    + rotation[axis, 1] * directions[index, 1]
                    + rotation[axis, 2] * directions[index, 2]
                )
            if v[2] >= 0:
                known = support_map[int(v[1] * half + half + 0.5), int(v[0] * half + half + 0.5)]
                _add_equation(normal, right, v, known - supports[index], 1.0)
        down = rotation[2]  # minus this is the target's downward direction in the source's frame
        if -down[2] > 0:
            index = _nearest_direction(directions, -down)
            v[0], v[1], v[2] = 0.0, 0.0, -1.0
            _add_equation(normal, right, v, target_height - supports[index], substrate_weight)
            v[0], v[1], v[2] = -rotation[0, 2], -rotation[1, 2], -rotation[2, 2]
            known = support_map[int(v[1] * half + half + 0.5), int(v[0] * half + half + 0.5)]
            _add_equation(normal, right, v, known - source_height, substrate_weight)
        offsets[candidate] = np.linalg.solve(normal, right)
    return offsets


@njit(cache=True, error_model="numpy")
def _add_equation(normal, right, v, value, weight):  # type: ignore[no-untyped-def]
    """Add the equation `offset . v = value`."""
    for row in range(3):
        right[row] += weight * v[row] * value
        for col in range(3):
            normal[row, col] += weight * v[row] * v[col]


@njit(cache=True, error_model="numpy")
def _nearest_direction(directions, v):  # type: ignore[no-untyped-def]
    """Return the index of the direction nearest to v."""
    best = 0
    largest = -2.0
    for index in range(len(directions)):
        cosine = directions[index, 0] * v[0] + directions[index, 1] * v[1] + directions[index, 2] * v[2]
        if cosine > largest:
            largest = cosine
            best = index
    return best
