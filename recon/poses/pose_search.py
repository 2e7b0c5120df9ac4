"""Find how one view is turned and shifted against others: all rotations coarsely, then the best ones finely."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recon.poses.pose_loops import PoseArrays, PoseLoops
from recon.poses.pose_point_kernels import FitCost
from recon.poses.pose_search_kernels import SearchCost
from recon.poses.poses import Poses, angles_deg, only_pose
from recon.poses.rotation_sampling import even_rotations

NUM_ROTATIONS = 15_000
"""About 10 degrees between neighbours."""
NUM_REFINED = 96
NUM_HYPOTHESES = 6
NUM_COARSE_POINTS, NUM_FINE_POINTS = 256, 512
SEARCH_COST = SearchCost(
    band=1.5, clip=3.5, num_points=NUM_COARSE_POINTS, step=2, substrate_weight=8.0, prior_weight=0.3
)
COARSE_COST = FitCost(band=1.0, clip=3.5, surface_band=1.0, grid_weight=1.0, surface_weight=0.0)
FINE_COSTS = (
    FitCost(band=0.5, clip=2.0, surface_band=0.6, grid_weight=0.2, surface_weight=1.0),
    FitCost(band=0.5, clip=2.0, surface_band=0.3, grid_weight=0.02, surface_weight=1.0),
)
REFINE_STEPS = 15
SAME_POSE_DEG = 8.0
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


def search_pair(loops: PoseLoops, source: int, target: int) -> PoseHypotheses:
    """Return the likely poses source -> target: the world is the frame of `source`."""
    rotations = _search_rotations()
    offsets, costs = loops.search(source, target, rotations, SEARCH_COST)
    best = np.argpartition(costs, NUM_REFINED)[:NUM_REFINED]
    candidates = (rotations[best].astype(float), offsets[best].astype(float))
    return refine_hypotheses(loops, target, only_pose(source), candidates)


def refine_hypotheses(loops: PoseLoops, view: int, fixed: Poses, candidates: PoseArrays) -> PoseHypotheses:
    """Refine candidate poses world -> `view` against fixed ones; return the best of those that differ."""
    poses, costs = loops.refine(COARSE_COST, NUM_COARSE_POINTS, view, fixed, candidates, REFINE_STEPS)
    kept = _different(poses[0], costs)
    poses = (poses[0][kept], poses[1][kept])
    for cost in FINE_COSTS:
        poses, _ = loops.refine(cost, NUM_FINE_POINTS, view, fixed, poses, REFINE_STEPS)
    costs = costs_against(loops, view, fixed, poses)
    order = np.argsort(costs)
    return PoseHypotheses(poses[0][order], poses[1][order], costs[order])


def costs_against(loops: PoseLoops, view: int, fixed: Poses, candidates: PoseArrays) -> np.ndarray:
    """Return float64 `(candidate,)`: the mean of `pair_costs` between a view and the fixed ones."""
    rotations, offsets = candidates
    num_candidates, num_fixed = len(rotations), len(fixed.views)
    candidate = np.repeat(np.arange(num_candidates), num_fixed)
    other = np.tile(np.arange(num_fixed), num_candidates)
    poses = (rotations[candidate], offsets[candidate])
    other_poses = (fixed.rotations[other], fixed.offsets[other])
    outward = np.stack([np.full(len(other), view), fixed.views[other]], axis=1)
    costs = pair_costs(loops, poses, other_poses, outward) + pair_costs(loops, other_poses, poses, outward[:, ::-1])
    return costs.reshape(num_candidates, num_fixed).mean(axis=1) / 2


def pair_costs(loops: PoseLoops, source_poses: PoseArrays, target_poses: PoseArrays, pairs: np.ndarray) -> np.ndarray:
    """Return float64 `(pair,)`: share of points without contact plus the weighted share of breaches."""
    shares = loops.fit_shares(NUM_FINE_POINTS, source_poses, target_poses, pairs, CONTACT_BAND_CELLS)
    return 1 - shares[:, 0] + BREACH_WEIGHT * shares[:, 1]


def _different(rotations: np.ndarray, costs: np.ndarray) -> list[int]:
    """Return the best candidates of which no two have nearly the same rotation."""
    kept: list[int] = []
    waiting = np.argsort(costs)
    while len(waiting) and len(kept) < NUM_HYPOTHESES:
        kept.append(int(waiting[0]))
        waiting = waiting[angles_deg(rotations[waiting], rotations[waiting[0]]) > SAME_POSE_DEG]
    return kept
