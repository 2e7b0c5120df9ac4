"""
The loops of registration over rotations, candidates and points: compiled for the CPU, or on a GPU.

Both give the same results but for rounding. What goes in and comes out are arrays of numpy; the views stay where they
are computed with.
"""

from types import ModuleType
from typing import Protocol

import numpy as np

from recon.poses.pose_point_kernels import FitCost
from recon.poses.pose_search_kernels import SearchCost
from recon.poses.poses import Poses
from recon.poses.view_stack import ViewStack

PoseArrays = tuple[np.ndarray, np.ndarray]
"""Rotations float64 `(pose, 3, 3)` and offsets float64 `(pose, xyz)`, in cells."""


class PoseLoops(Protocol):
    """The loops over the views of one protein."""

    stack: ViewStack

    def search(self, source: int, target: int, rotations: np.ndarray, cost: SearchCost) -> PoseArrays:
        """Return float32 `(rotation, xyz)` offsets and `(rotation,)` costs of rotations source -> target."""
        ...

    def refine(
        self, cost: FitCost, num_points: int, view: int, fixed: Poses, candidates: PoseArrays, num_steps: int
    ) -> tuple[PoseArrays, np.ndarray]:
        """Refine candidate poses world -> `view` against fixed ones; return them and their costs."""
        ...

    def pair_equations(
        self, cost: FitCost, num_points: int, poses: Poses, pairs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Return `(pair, 6, 6)` and `(pair, 6)` normal equations and `(pair,)` costs.

        Directed pairs `(pair, 2)` are positions in `poses`.
        """
        ...

    def fit_shares(
        self, num_points: int, source_poses: PoseArrays, target_poses: PoseArrays, pairs: np.ndarray, band: float
    ) -> np.ndarray:
        """
        Return `(pair, 2)`: shares of the source's points that touch the target's surface, and that break it.

        Poses are those of each pair, `pairs` `(pair, 2)` are the views source and target; `band` is how far from the
        surface a point touches it.
        """
        ...


def pose_loops(stack: ViewStack, xp: ModuleType = np) -> PoseLoops:
    """Return the loops over some views on the CPU (numpy) or on the GPU (cupy)."""
    if xp is np:
        from recon.poses.pose_loops_cpu import CpuPoseLoops

        return CpuPoseLoops(stack)
    from recon.poses.pose_loops_gpu import GpuPoseLoops

    return GpuPoseLoops(stack, xp)
