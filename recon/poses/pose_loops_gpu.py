"""The loops of registration on the GPU: starts the kernels of `kernels/pose_search.cu` and `kernels/pose_fit.cu`."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hpc.array_backend import to_numpy
from hpc.cuda_source import Kernels
from recon.poses.pose_loops import PoseArrays
from recon.poses.pose_point_kernels import FitCost
from recon.poses.pose_search_kernels import SearchCost
from recon.poses.poses import Poses
from recon.poses.rotation_sampling import upper_directions
from recon.poses.view_stack import NUM_DIRECTIONS, NUM_POINTS, STEEPEST_SLOPE, ViewStack

SEARCH_PATH = Path(__file__).parent / "kernels" / "pose_search.cu"
FIT_PATH = SEARCH_PATH.with_name("pose_fit.cu")
_ROW, _COL = np.tril_indices(6)
NUM_ENTRIES = len(_ROW)
NUM_SUMS = NUM_ENTRIES + 6 + 1  # as in the kernels


class GpuPoseLoops:
    """The loops over the views of one protein, which lie on the GPU; see `recon.poses.pose_loops.PoseLoops`."""

    def __init__(self, stack: ViewStack, xp: ModuleType) -> None:
        self.stack = stack
        self._xp: Any = xp
        self._on_device: Any = {
            name: xp.asarray(array) for name, array in vars(stack).items() if getattr(array, "ndim", 0)
        }
        self._directions = xp.asarray(upper_directions(NUM_DIRECTIONS))

    def search(self, source: int, target: int, rotations: np.ndarray, cost: SearchCost) -> PoseArrays:
        """Return offsets and costs of rotations source -> target."""
        xp, kernels, arrays = self._xp, Kernels(SEARCH_PATH), self._on_device
        candidates = (xp.asarray(rotations, dtype=np.float32), np.int32(len(rotations)))
        offsets, costs = xp.empty((len(rotations), 3), dtype=np.float32), xp.empty(len(rotations), dtype=np.float32)
        supports, support_map = arrays["supports"][source], arrays["support_maps"][target]
        numbers = (*self.stack.centers[[source, target], 2], cost.substrate_weight, cost.prior_weight)
        kernels.start(
            "support_offsets",
            len(rotations),
            (*candidates, self._directions, supports, np.int32(len(supports)))
            + (support_map, np.int32(len(support_map)), *_doubles(numbers), offsets),
        )
        points = (arrays["points"][source], arrays["points"][target], *_integers((cost.num_points, cost.step)))
        distance, corners = arrays["distance"], arrays["corners"]
        grids = (distance[source], distance[target], *_integers(distance.shape[1:]), corners[source], corners[target])
        scales = _doubles((cost.band, cost.clip))
        kernels.start(
            "search_costs", len(rotations), (candidates[0], offsets, candidates[1], *points, *grids, *scales, costs)
        )
        return to_numpy(offsets), to_numpy(costs)

    def refine(
        self, cost: FitCost, num_points: int, view: int, fixed: Poses, candidates: PoseArrays, num_steps: int
    ) -> tuple[PoseArrays, np.ndarray]:
        """Refine candidate poses; return them and their costs."""
        rotations, offsets = (self._xp.array(part, dtype=np.float64, order="C") for part in candidates)
        costs = self._xp.empty(len(rotations), dtype=np.float64)
        others = (self._whole(fixed.views), np.int32(len(fixed.views)), *self._poses(fixed.rotations, fixed.offsets))
        arguments = (*self._views(num_points), *_doubles(cost), np.int32(view), *others, np.int32(num_steps))
        Kernels(FIT_PATH).start_blocks("refine_candidates", len(rotations), (*arguments, rotations, offsets, costs))
        return (to_numpy(rotations), to_numpy(offsets)), to_numpy(costs)

    def pair_equations(
        self, cost: FitCost, num_points: int, poses: Poses, pairs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the normal equations and the cost of each pair."""
        sums = self._xp.empty((len(pairs), NUM_SUMS), dtype=np.float64)
        placed = (self._whole(poses.views), *self._poses(poses.rotations, poses.offsets), self._whole(pairs))
        arguments = (*self._views(num_points), *_doubles(cost), *placed, sums)
        Kernels(FIT_PATH).start_blocks("pair_equations", len(pairs), arguments)
        found = to_numpy(sums)
        matrices = np.empty((len(pairs), 6, 6))
        matrices[:, _ROW, _COL] = matrices[:, _COL, _ROW] = found[:, :NUM_ENTRIES]
        return matrices, found[:, NUM_ENTRIES:-1], found[:, -1]

    def fit_shares(
        self, num_points: int, source_poses: PoseArrays, target_poses: PoseArrays, pairs: np.ndarray, band: float
    ) -> np.ndarray:
        """Return the shares of points that touch and that break a surface."""
        counts = self._xp.zeros((len(pairs), 2), dtype=np.int32)
        poses = (*self._poses(*source_poses), *self._poses(*target_poses), self._whole(pairs))
        limits = _doubles((band, self.stack.allowance))
        arguments = (*self._views(num_points), self._on_device["ceilings"], *poses, *limits, counts)
        Kernels(FIT_PATH).start_blocks("count_fits", len(pairs), arguments)
        return to_numpy(counts) / num_points

    def _views(self, num_points: int) -> tuple[Any, ...]:
        """Return the arguments by which kernels know the views."""
        arrays, stack = self._on_device, self.stack
        return (
            arrays["points"],
            arrays["normals"],
            *_integers((NUM_POINTS, num_points)),
            arrays["distance"],
            *_integers(stack.distance.shape[1:]),
            arrays["corners"],
            arrays["heights"],
            np.int32(stack.heights.shape[1]),
            arrays["centers"],
            *_doubles((stack.pixel_cells, STEEPEST_SLOPE)),
        )

    def _poses(self, rotations: np.ndarray, offsets: np.ndarray) -> tuple[Any, Any]:
        return tuple(
            self._xp.ascontiguousarray(self._xp.asarray(part, dtype=np.float64)) for part in (rotations, offsets)
        )

    def _whole(self, numbers: np.ndarray) -> Any:
        return self._xp.ascontiguousarray(self._xp.asarray(numbers, dtype=np.int32))


def _integers(numbers: Any) -> tuple[np.int32, ...]:
    return tuple(np.int32(number) for number in numbers)


def _doubles(numbers: Any) -> tuple[np.float64, ...]:
    return tuple(np.float64(number) for number in numbers)
