"""
Compiled loops of registration (Numba): how well two views fit each other, and which way a pose should move.

A surface point of one view, brought into the frame of another, must not lie outside what that view allows, and is
good evidence where it lies on that view's surface. Its cost in square cells, with d the signed distance (above 0
outside), is

    clip**2  for d >= clip,  d**2  for -band < d < clip,  band**2  for d <= -band (hidden from that view).

A pose maps points of the world into a view: `p_view = rotation @ p_world + offset`. Poses move by a twist
(turn, shift) of the world that is applied to the points of a view: for a directed pair "points of `source` in
`target`" the residual changes by `a . (twist_source - twist_target)` with `a = (p_world x g, g)` and g the gradient
of the distance in the world's axes. One 6 x 6 matrix per directed pair thus makes up the normal equations of all
poses (a graph Laplacian of 6 x 6 blocks).
"""

import numpy as np
from numba import njit, prange

_OUTSIDE = np.float32(1e6)


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
        back = -(inverse @ offset)
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
        for index in range(len(directions)):
            v = rotation @ directions[index]
            if v[2] >= 0:
                known = support_map[int(v[1] * half + half + 0.5), int(v[0] * half + half + 0.5)]
                _add_equation(normal, right, v, known - supports[index], 1.0)
        down = rotation[2]  # minus this is the target's downward direction in the source's frame
        if -down[2] > 0:
            index = _nearest_direction(directions, -down)
            v = np.array((0.0, 0.0, -1.0))
            _add_equation(normal, right, v, target_height - supports[index], substrate_weight)
            v = -rotation[:, 2].astype(np.float64)
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


@njit(cache=True, error_model="numpy")
def add_normal_equations(  # type: ignore[no-untyped-def]
    points,
    source_rotation,
    source_offset,
    target_rotation,
    target_offset,
    distance,
    corner,
    band,
    clip,
    matrix,
    right,
):
    """Add a directed pair's 6 x 6 matrix and 6-vector; return its mean cost."""
    gradient = np.empty(3)
    arm = np.empty(6)
    total = 0.0
    share = 1.0 / len(points)
    for point in range(len(points)):
        centred = points[point] - source_offset
        w_x = source_rotation[0, 0] * centred[0] + source_rotation[1, 0] * centred[1] + source_rotation[2, 0] * centred[2]
        w_y = source_rotation[0, 1] * centred[0] + source_rotation[1, 1] * centred[1] + source_rotation[2, 1] * centred[2]
        w_z = source_rotation[0, 2] * centred[0] + source_rotation[1, 2] * centred[1] + source_rotation[2, 2] * centred[2]
        x = target_rotation[0, 0] * w_x + target_rotation[0, 1] * w_y + target_rotation[0, 2] * w_z
        y = target_rotation[1, 0] * w_x + target_rotation[1, 1] * w_y + target_rotation[1, 2] * w_z
        z = target_rotation[2, 0] * w_x + target_rotation[2, 1] * w_y + target_rotation[2, 2] * w_z
        d = distance_and_gradient(
            distance,
            x + target_offset[0] - corner[0],
            y + target_offset[1] - corner[1],
            z + target_offset[2] - corner[2],
            gradient,
        )
        if d >= clip:
            total += clip * clip
            continue
        if d <= -band:
            total += band * band
            continue
        total += d * d
        for axis in range(3):
            arm[3 + axis] = (
                target_rotation[0, axis] * gradient[0]
                + target_rotation[1, axis] * gradient[1]
                + target_rotation[2, axis] * gradient[2]
            )
        arm[0] = w_y * arm[5] - w_z * arm[4]
        arm[1] = w_z * arm[3] - w_x * arm[5]
        arm[2] = w_x * arm[4] - w_y * arm[3]
        for row in range(6):
            right[row] += share * arm[row] * d
            for col in range(row + 1):
                matrix[row, col] += share * arm[row] * arm[col]
    return total * share


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
def _equations_against(points, distance, corners, view, others, rotations, offsets, rotation, offset, band, clip):  # type: ignore[no-untyped-def]
    """Return matrix, vector and mean cost of one view's pose against the poses of others."""
    matrix, right = np.zeros((6, 6)), np.zeros(6)
    back = np.zeros(6)
    cost = 0.0
    for index in range(len(others)):
        other = others[index]
        other_rotation, other_offset = rotations[index], offsets[index]
        cost += add_normal_equations(
            points[view], rotation, offset, other_rotation, other_offset,
            distance[other], corners[other], band, clip, matrix, right,
        )  # fmt: skip
        cost += add_normal_equations(
            points[other], other_rotation, other_offset, rotation, offset,
            distance[view], corners[view], band, clip, matrix, back,
        )  # fmt: skip
    for row in range(6):
        for col in range(row):
            matrix[col, row] = matrix[row, col]
    return matrix, right - back, cost / (2 * len(others))


@njit(cache=True, error_model="numpy")
def _refine_against(points, distance, corners, view, others, rotations, offsets, rotation, offset, band, clip, steps):  # type: ignore[no-untyped-def]
    """Refine one pose in place by Levenberg-Marquardt; return its mean cost."""
    damping = 1e-2
    matrix, right, cost = _equations_against(
        points, distance, corners, view, others, rotations, offsets, rotation, offset, band, clip
    )
    for _ in range(steps):
        damped = matrix.copy()
        for axis in range(6):
            damped[axis, axis] += damping * matrix[axis, axis] + 1e-9
        twist = -np.linalg.solve(damped, right)
        new_rotation, new_offset = moved_pose(rotation, offset, twist)
        new_matrix, new_right, new_cost = _equations_against(
            points, distance, corners, view, others, rotations, offsets, new_rotation, new_offset, band, clip
        )
        if new_cost < cost:
            is_settled = cost - new_cost < 1e-4 * cost
            rotation[:], offset[:] = new_rotation, new_offset
            matrix, right, cost = new_matrix, new_right, new_cost
            damping = max(damping / 5, 1e-6)
            if is_settled:
                break
        else:
            damping *= 8
            if damping > 1e4:
                break
    return cost


@njit(cache=True, parallel=True, error_model="numpy")
def refine_candidates(  # type: ignore[no-untyped-def]
    points, distance, corners, view, others, rotations, offsets, candidate_rotations, candidate_offsets, band, clip, steps
):
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
            points, distance, corners, view, others, rotations, offsets,
            candidate_rotations[candidate], candidate_offsets[candidate], band, clip, steps,
        )  # fmt: skip
    return costs


@njit(cache=True, parallel=True, error_model="numpy")
def pair_equations(points, distance, corners, rotations, offsets, pairs, band, clip):  # type: ignore[no-untyped-def]
    """Return float64 `(pair, 6, 6)`, `(pair, 6)` and `(pair,)` cost of the directed pairs `(pair, 2)`."""
    matrices, rights = np.zeros((len(pairs), 6, 6)), np.zeros((len(pairs), 6))
    costs = np.empty(len(pairs))
    for pair in prange(len(pairs)):
        source, target = pairs[pair]
        matrix = matrices[pair]
        costs[pair] = add_normal_equations(
            points[source], rotations[source], offsets[source], rotations[target], offsets[target],
            distance[target], corners[target], band, clip, matrix, rights[pair],
        )  # fmt: skip
        for row in range(6):
            for col in range(row):
                matrix[col, row] = matrix[row, col]
    return matrices, rights, costs
