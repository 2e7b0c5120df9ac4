"""Move the poses of all views together until every view fits every other one."""

import numpy as np

from recon.pose_fit_kernels import moved_pose, pair_equations
from recon.pose_point_kernels import FitArrays, FitCost
from recon.poses import Poses

MAX_STEPS = 20
SETTLED_SHARE = 1e-3


def directed_pairs(views: np.ndarray) -> np.ndarray:
    """Return int64 `(pair, 2)`: source and target, all ordered pairs of positions of different views."""
    source, target = np.nonzero(~np.eye(len(views), dtype=bool))
    return np.stack([source, target], axis=1)


def refine_jointly(arrays: FitArrays, cost: FitCost, poses: Poses) -> Poses:
    """Lower the cost summed over all pairs by Levenberg-Marquardt; the first view stays."""
    arrays = arrays_of(arrays, poses.views)
    pairs = directed_pairs(poses.views)
    rotations, offsets = poses.rotations, poses.offsets
    damping = 1e-3
    matrices, rights, costs = pair_equations(arrays, cost, rotations, offsets, pairs)
    for _ in range(MAX_STEPS):
        twists = _step(pairs, matrices, rights, len(rotations), damping)
        moved = [moved_pose(*pose) for pose in zip(rotations, offsets, twists, strict=True)]
        new_rotations, new_offsets = (np.stack(parts) for parts in zip(*moved, strict=True))
        new_matrices, new_rights, new_costs = pair_equations(arrays, cost, new_rotations, new_offsets, pairs)
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
    return Poses(poses.views, rotations, offsets)


def arrays_of(arrays: FitArrays, views: np.ndarray) -> FitArrays:
    """Return the arrays of some views only, in their order."""
    per_view = {name: array[views] for name, array in arrays._asdict().items() if isinstance(array, np.ndarray)}
    return arrays._replace(**per_view)


def _step(pairs: np.ndarray, matrices: np.ndarray, rights: np.ndarray, num_views: int, damping: float) -> np.ndarray:
    """Solve the damped normal equations with the first view fixed; return float64 `(view, 6)` twists."""
    source, target = pairs.T
    full = np.zeros((num_views, num_views, 6, 6))
    np.add.at(full, (source, source), matrices)
    np.add.at(full, (target, target), matrices)
    np.add.at(full, (source, target), -matrices)
    np.add.at(full, (target, source), -matrices)
    right = np.zeros((num_views, 6))
    np.add.at(right, source, rights)
    np.add.at(right, target, -rights)
    size = 6 * (num_views - 1)
    system = full[1:, 1:].transpose(0, 2, 1, 3).reshape(size, size)
    system[np.diag_indices(size)] *= 1 + damping
    system[np.diag_indices(size)] += 1e-9
    twists = np.zeros((num_views, 6))
    twists[1:] = -np.linalg.solve(system, right[1:].reshape(-1)).reshape(-1, 6)
    return twists
