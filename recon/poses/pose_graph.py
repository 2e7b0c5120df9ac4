"""Move the poses of all views together until every view fits every other one."""

import numpy as np

from recon.poses.pose_fit_kernels import moved_pose
from recon.poses.pose_loops import PoseLoops
from recon.poses.pose_point_kernels import FitCost
from recon.poses.poses import Poses

MAX_STEPS = 20
SETTLED_SHARE = 1e-3


def directed_pairs(views: np.ndarray) -> np.ndarray:
    """Return int64 `(pair, 2)`: source and target, all ordered pairs of positions of different views."""
    source, target = np.nonzero(~np.eye(len(views), dtype=bool))
    return np.stack([source, target], axis=1)


def refine_jointly(loops: PoseLoops, num_points: int, cost: FitCost, poses: Poses) -> Poses:
    """Lower the cost summed over all pairs by Levenberg-Marquardt; the first view stays."""
    pairs = directed_pairs(poses.views)
    damping = 1e-3
    matrices, rights, costs = loops.pair_equations(cost, num_points, poses, pairs)
    for _ in range(MAX_STEPS):
        twists = _step(pairs, matrices, rights, len(poses.views), damping)
        moved = [moved_pose(*pose) for pose in zip(poses.rotations, poses.offsets, twists, strict=True)]
        new_poses = Poses(poses.views, *(np.stack(parts) for parts in zip(*moved, strict=True)))
        new_matrices, new_rights, new_costs = loops.pair_equations(cost, num_points, new_poses, pairs)
        gain = costs.sum() - new_costs.sum()
        if gain <= 0:
            damping *= 10
            if damping > 1e3:
                break
            continue
        is_settled = gain < SETTLED_SHARE * costs.sum()
        poses, matrices, rights, costs = new_poses, new_matrices, new_rights, new_costs
        damping = max(damping / 10, 1e-7)
        if is_settled:
            break
    return poses


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
