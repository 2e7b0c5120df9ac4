"""Move the poses of all views together until every view fits every other one."""

from collections.abc import Callable

import numpy as np

from recon.pose_kernels import moved_pose, pair_equations
from recon.pose_search import Poses
from recon.view_stack import ViewStack

PairEquations = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""From rotations and offsets to the matrices, vectors and costs of all directed pairs."""

MAX_STEPS = 30
SETTLED_SHARE = 1e-4


def directed_pairs(num_views: int) -> np.ndarray:
    """Return int64 `(pair, 2)`: source and target, all ordered pairs of different views."""
    source, target = np.nonzero(~np.eye(num_views, dtype=bool))
    return np.stack([source, target], axis=1)


def refine_jointly(stack: ViewStack, poses: Poses, band: float, clip: float) -> tuple[Poses, np.ndarray]:
    """
    Refine all poses by Levenberg-Marquardt on the distance grids; the first view stays.

    Returns
    -------
    poses, pair_costs
        The new poses, and float64 `(view, view)`: mean cost of the row's points in the column's view.
    """
    views = poses.views
    points, distance, corners = stack.points[views], stack.distance[views], stack.corners[views]
    pairs = directed_pairs(len(views))

    def equations(rotations: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return pair_equations(points, distance, corners, rotations, offsets, pairs, band, clip)

    rotations, offsets, costs = minimise(equations, pairs, poses.rotations, poses.offsets)
    pair_costs = np.zeros((len(views), len(views)))
    pair_costs[pairs[:, 0], pairs[:, 1]] = costs
    return Poses(views, rotations, offsets), pair_costs


def minimise(
    equations: PairEquations, pairs: np.ndarray, rotations: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower the sum of the pairs' costs; return rotations, offsets and the costs of the pairs."""
    damping = 1e-3
    matrices, rights, costs = equations(rotations, offsets)
    for _ in range(MAX_STEPS):
        twists = _step(pairs, matrices, rights, len(rotations), damping)
        moved = [moved_pose(*pose) for pose in zip(rotations, offsets, twists, strict=True)]
        new_rotations, new_offsets = (np.stack(parts) for parts in zip(*moved, strict=True))
        new_matrices, new_rights, new_costs = equations(new_rotations, new_offsets)
        gain = costs.sum() - new_costs.sum()
        if gain <= 0:
            damping *= 10
            if damping > 1e3:
                break
            continue
        is_settled = gain < SETTLED_SHARE * costs.sum()
        rotations, offsets = new_rotations, new_offsets
        matrices, rights, costs = new_matrices, new_rights, new_costs
        damping = max(damping / 10, 1e-7)
        if is_settled:
            break
    return rotations, offsets, costs


def _step(pairs: np.ndarray, matrices: np.ndarray, rights: np.ndarray, num_views: int, damping: float) -> np.ndarray:
    """Solve the damped normal equations with the first view fixed; return float64 `(view, 6)` twists."""
    full = np.zeros((num_views, num_views, 6, 6))
    right = np.zeros((num_views, 6))
    for (source, target), matrix, vector in zip(pairs, matrices, rights, strict=True):
        full[source, source] += matrix
        full[target, target] += matrix
        full[source, target] -= matrix
        full[target, source] -= matrix
        right[source] += vector
        right[target] -= vector
    size = 6 * (num_views - 1)
    system = full[1:, 1:].transpose(0, 2, 1, 3).reshape(size, size)
    system[np.diag_indices(size)] *= 1 + damping
    system[np.diag_indices(size)] += 1e-9
    twists = np.zeros((num_views, 6))
    twists[1:] = -np.linalg.solve(system, right[1:].reshape(-1)).reshape(-1, 6)
    return twists
