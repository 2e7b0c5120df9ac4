"""The loops of registration on the CPU: calls the functions that Numba compiles."""

import numpy as np

from recon.poses import pose_fit_kernels
from recon.poses.pose_loops import PoseArrays
from recon.poses.pose_point_kernels import FitArrays, FitCost
from recon.poses.pose_search_kernels import SearchCost, search_costs, support_offsets
from recon.poses.poses import Poses
from recon.poses.rotation_sampling import upper_directions
from recon.poses.view_stack import NUM_DIRECTIONS, ViewStack, fit_arrays


class CpuPoseLoops:
    """The loops over the views of one protein; see `recon.poses.pose_loops.PoseLoops`."""

    def __init__(self, stack: ViewStack) -> None:
        self.stack = stack
        self._arrays: dict[int, FitArrays] = {}

    def search(self, source: int, target: int, rotations: np.ndarray, cost: SearchCost) -> PoseArrays:
        """Return offsets and costs of rotations source -> target."""
        stack = self.stack
        offsets = support_offsets(
            rotations, upper_directions(NUM_DIRECTIONS), stack.supports[source], stack.support_maps[target],
            (float(stack.centers[source, 2]), float(stack.centers[target, 2])),
            cost.substrate_weight, cost.prior_weight,
        )  # fmt: skip
        costs = search_costs(
            rotations, offsets, stack.points[:, : cost.num_points], stack.distance, stack.corners, source, target,
            cost.band, cost.clip, cost.step,
        )  # fmt: skip
        return offsets, costs

    def refine(
        self, cost: FitCost, num_points: int, view: int, fixed: Poses, candidates: PoseArrays, num_steps: int
    ) -> tuple[PoseArrays, np.ndarray]:
        """Refine candidate poses; return them and their costs."""
        rotations, offsets = (part.copy() for part in candidates)
        costs = pose_fit_kernels.refine_candidates(
            self._fit_arrays(num_points), cost, view, fixed.views, fixed.rotations, fixed.offsets,
            rotations, offsets, num_steps,
        )  # fmt: skip
        return (rotations, offsets), costs

    def pair_equations(
        self, cost: FitCost, num_points: int, poses: Poses, pairs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the normal equations and the cost of each pair."""
        arrays = self._fit_arrays(num_points)
        return pose_fit_kernels.pair_equations(arrays, cost, poses.views, poses.rotations, poses.offsets, pairs)

    def fit_shares(
        self, num_points: int, source_poses: PoseArrays, target_poses: PoseArrays, pairs: np.ndarray, band: float
    ) -> np.ndarray:
        """Return the shares of points that touch and that break a surface."""
        arrays = self._fit_arrays(num_points)
        return pose_fit_kernels.fit_shares(
            arrays, source_poses, target_poses, np.ascontiguousarray(pairs), band, self.stack.allowance
        )

    def _fit_arrays(self, num_points: int) -> FitArrays:
        if num_points not in self._arrays:
            self._arrays[num_points] = fit_arrays(self.stack, num_points)
        return self._arrays[num_points]
