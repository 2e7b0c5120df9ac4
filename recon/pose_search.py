"""Find how one view is turned and shifted against others: all rotations coarsely, then the best ones finely."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recon.pose_fit_kernels import fit_shares, refine_candidates
from recon.pose_point_kernels import FitArrays, FitCost
from recon.pose_search_kernels import search_costs, support_offsets
from recon.poses import Poses, angle_deg, only_pose
from recon.rotation_sampling import even_rotations, upper_directions
from recon.view_stack import NUM_DIRECTIONS, ViewStack, fit_arrays

NUM_ROTATIONS = 15_000
"""About 10 degrees between neighbours."""
NUM_REFINED = 96
NUM_HYPOTHESES = 6
SEARCH_BAND_CELLS, SEARCH_CLIP_CELLS, SEARCH_STEP = 1.5, 3.5, 2
NUM_COARSE_POINTS, NUM_FINE_POINTS = 256, 512
COARSE_COST = FitCost(band=1.0, clip=3.5, surface_band=1.0, grid_weight=1.0, surface_weight=0.0)
FINE_COSTS = (
    FitCost(band=0.5, clip=2.0, surface_band=0.6, grid_weight=0.2, surface_weight=1.0),
    FitCost(band=0.5, clip=2.0, surface_band=0.3, grid_weight=0.02, surface_weight=1.0),
)
REFINE_STEPS = 15
SAME_POSE_DEG = 8.0
SUBSTRATE_WEIGHT, PRIOR_WEIGHT = 8.0, 0.3
CONTACT_BAND_CELLS = 0.3
BREACH_WEIGHT = 20.0
"""A true pose has no breach, a wrong one of a symmetric body may have many contacts."""


@dataclass(frozen=True)
class PoseHypotheses:
    """Poses world -> view in cells, the best first."""

    rotations: np.ndarray
    """float64 `(hypothesis, 3, 3)`"""
    offsets: np.ndarray
    """float64 `(hypothesis, xyz)`"""
    costs: np.ndarray
    """float64 `(hypothesis,)`, mean of `pair_costs`"""


@lru_cache(maxsize=1)
def _search_rotations() -> np.ndarray:
    return even_rotations(NUM_ROTATIONS)


def search_pair(stack: ViewStack, source: int, target: int) -> PoseHypotheses:
    """Return the likely poses source -> target: the world is the frame of `source`."""
    rotations = _search_rotations()
    offsets = support_offsets(
        rotations, upper_directions(NUM_DIRECTIONS), stack.supports[source], stack.support_maps[target],
        (float(stack.centers[source, 2]), float(stack.centers[target, 2])), SUBSTRATE_WEIGHT, PRIOR_WEIGHT,
    )  # fmt: skip
    costs = search_costs(
        rotations, offsets, stack.points[:, :NUM_COARSE_POINTS], stack.distance, stack.corners, source, target,
        SEARCH_BAND_CELLS, SEARCH_CLIP_CELLS, SEARCH_STEP,
    )  # fmt: skip
    best = np.argpartition(costs, NUM_REFINED)[:NUM_REFINED]
    return refine_hypotheses(
        stack, target, only_pose(source), rotations[best].astype(float), offsets[best].astype(float)
    )


def refine_hypotheses(
    stack: ViewStack, view: int, fixed: Poses, rotations: np.ndarray, offsets: np.ndarray
) -> PoseHypotheses:
    """Refine candidate poses world -> `view` against fixed ones; return the best of those that differ."""
    rotations, offsets = rotations.copy(), offsets.copy()
    costs = _refine(fit_arrays(stack, NUM_COARSE_POINTS), COARSE_COST, view, fixed, rotations, offsets)
    kept = _different(rotations, costs)
    rotations, offsets = rotations[kept], offsets[kept]
    arrays = fit_arrays(stack, NUM_FINE_POINTS)
    for cost in FINE_COSTS:
        _refine(arrays, cost, view, fixed, rotations, offsets)
    costs = costs_against(arrays, stack.allowance, view, fixed, rotations, offsets)
    order = np.argsort(costs)
    return PoseHypotheses(rotations[order], offsets[order], costs[order])


def costs_against(
    arrays: FitArrays, allowance: float, view: int, fixed: Poses, rotations: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Return float64 `(candidate,)`: the mean of `pair_costs` between a view and the fixed ones."""
    num_candidates, num_fixed = len(rotations), len(fixed.views)
    candidate = np.repeat(np.arange(num_candidates), num_fixed)
    other = np.tile(np.arange(num_fixed), num_candidates)
    poses = (rotations[candidate], offsets[candidate])
    other_poses = (fixed.rotations[other], fixed.offsets[other])
    outward = np.stack([np.full(len(other), view), fixed.views[other]], axis=1)
    costs = pair_costs(arrays, allowance, poses, other_poses, outward)
    costs += pair_costs(arrays, allowance, other_poses, poses, outward[:, ::-1])
    return costs.reshape(num_candidates, num_fixed).mean(axis=1) / 2


def pair_costs(
    arrays: FitArrays,
    allowance: float,
    source_poses: tuple[np.ndarray, np.ndarray],
    target_poses: tuple[np.ndarray, np.ndarray],
    pairs: np.ndarray,
) -> np.ndarray:
    """Return float64 `(pair,)`: share of points without contact plus the weighted share of breaches."""
    shares = fit_shares(arrays, source_poses, target_poses, np.ascontiguousarray(pairs), CONTACT_BAND_CELLS, allowance)
    return 1 - shares[:, 0] + BREACH_WEIGHT * shares[:, 1]


def _refine(
    arrays: FitArrays, cost: FitCost, view: int, fixed: Poses, rotations: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Refine candidates in place; return their costs."""
    return refine_candidates(
        arrays, cost, view, fixed.views, fixed.rotations, fixed.offsets, rotations, offsets, REFINE_STEPS
    )


def _different(rotations: np.ndarray, costs: np.ndarray) -> list[int]:
    """Return the best candidates of which no two have nearly the same rotation."""
    kept: list[int] = []
    for candidate in np.argsort(costs):
        if all(angle_deg(rotations[candidate], rotations[other]) > SAME_POSE_DEG for other in kept):
            kept.append(int(candidate))
        if len(kept) == NUM_HYPOTHESES:
            break
    return kept
