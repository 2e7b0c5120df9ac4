"""Find how one view is turned and shifted against another: all rotations coarsely, then the best ones finely."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recon.pose_kernels import refine_candidates, search_costs, support_offsets
from recon.rotation_sampling import even_rotations, upper_directions
from recon.view_stack import NUM_DIRECTIONS, ViewStack

NUM_ROTATIONS = 15_000
"""About 10 degrees between neighbours."""
NUM_REFINED = 128
NUM_HYPOTHESES = 6
SEARCH_BAND_CELLS, SEARCH_CLIP_CELLS = 1.5, 3.5
REFINE_BAND_CELLS, REFINE_CLIP_CELLS = 1.0, 3.5
SEARCH_STEP = 3
"""Every third surface point is enough to rank rotations."""
REFINE_STEPS = 15
SAME_POSE_DEG = 8.0
SUBSTRATE_WEIGHT = 8.0
PRIOR_WEIGHT = 0.3


@dataclass(frozen=True)
class PoseHypotheses:
    """Poses world -> view in cells, the best first."""

    rotations: np.ndarray
    """float64 `(hypothesis, 3, 3)`"""
    offsets: np.ndarray
    """float64 `(hypothesis, xyz)`"""
    costs: np.ndarray
    """float64 `(hypothesis,)` in square cells"""


@lru_cache(maxsize=1)
def _search_rotations() -> np.ndarray:
    return even_rotations(NUM_ROTATIONS)


def search_pair(stack: ViewStack, source: int, target: int) -> PoseHypotheses:
    """Return the likely poses source -> target: the world is the frame of `source`."""
    rotations = _search_rotations()
    offsets = support_offsets(
        rotations,
        upper_directions(NUM_DIRECTIONS),
        stack.supports[source],
        stack.support_maps[target],
        (float(stack.centers[source, 2]), float(stack.centers[target, 2])),
        SUBSTRATE_WEIGHT,
        PRIOR_WEIGHT,
    )
    costs = search_costs(
        rotations,
        offsets,
        stack.points,
        stack.distance,
        stack.corners,
        source,
        target,
        SEARCH_BAND_CELLS,
        SEARCH_CLIP_CELLS,
        SEARCH_STEP,
    )
    best = np.argpartition(costs, NUM_REFINED)[:NUM_REFINED]
    fixed = Poses(np.array([source]), np.eye(3)[None], np.zeros((1, 3)))
    return refine_hypotheses(stack, target, fixed, rotations[best].astype(float), offsets[best].astype(float))


@dataclass(frozen=True)
class Poses:
    """Poses world -> view of some views, lengths in cells."""

    views: np.ndarray
    """int64 `(view,)`"""
    rotations: np.ndarray
    """float64 `(view, 3, 3)`"""
    offsets: np.ndarray
    """float64 `(view, xyz)`"""


def refine_hypotheses(
    stack: ViewStack, view: int, fixed: Poses, rotations: np.ndarray, offsets: np.ndarray
) -> PoseHypotheses:
    """Refine candidate poses world -> `view` against fixed ones; return the best of those that differ."""
    rotations, offsets = rotations.copy(), offsets.copy()
    costs = refine_candidates(
        stack.points,
        stack.distance,
        stack.corners,
        view,
        fixed.views,
        fixed.rotations,
        fixed.offsets,
        rotations,
        offsets,
        REFINE_BAND_CELLS,
        REFINE_CLIP_CELLS,
        REFINE_STEPS,
    )
    kept: list[int] = []
    for candidate in np.argsort(costs):
        if all(angle_deg(rotations[candidate], rotations[other]) > SAME_POSE_DEG for other in kept):
            kept.append(int(candidate))
        if len(kept) == NUM_HYPOTHESES:
            break
    return PoseHypotheses(rotations[kept], offsets[kept], costs[kept])


def angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two rotations `(3, 3)` in degrees."""
    cosine = (np.sum(first * second) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
