"""
Find the poses of all views of one protein from the height maps alone.

Views join one after the other. Each is searched against the first few that are placed (`recon.poses.pose_search`), and
its likely poses are tried against all of them; while few views are placed, several arrangements are kept, since two
views alone may fit in more than one way. At last all poses move together (`recon.poses.pose_graph`).
"""

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from recon.poses.pose_graph import directed_pairs, refine_jointly
from recon.poses.pose_loops import PoseArrays, PoseLoops, pose_loops
from recon.poses.pose_point_kernels import FitCost
from recon.poses.pose_search import (
    CONTACT_BAND_CELLS,
    FINE_COSTS,
    PoseHypotheses,
    refine_hypotheses,
    search_pair,
)
from recon.poses.poses import Poses, only_pose
from recon.poses.view_stack import NUM_POINTS, ViewStack, prepare_views

MAX_ARRANGEMENTS = 4
"""Arrangements kept while few views are placed."""
NUM_DECISIVE = 4
"""With this many views placed, the best arrangement is taken."""
NUM_ANCHORS = 3
"""Placed views that a new one is searched against, one after the other until it fits."""
MAX_FIXED = 8
"""Placed views that a new one is tried against."""
FITTING_COST = 1.0
"""Less than this says that contacts outweigh breaches: the view fits."""
STRANGER_BREACH = 0.1
"""Where a tenth of the points break a surface, views are of different bodies: on training complexes, views of one
body broke at most 0.03 of each other, the best fits of two bodies at least 0.14."""
ACCEPTED_CONFIDENCE = 0.5
JOINT_COSTS = (*FINE_COSTS, FitCost(band=0.5, clip=2.0, surface_band=0.15, grid_weight=0.005, surface_weight=1.0))


@dataclass(frozen=True)
class Registration:
    """Poses of all views in the frame of the first: `p_view = rotation @ p_first + offset`."""

    rotations: np.ndarray
    """float64 `(view, 3, 3)`"""
    offsets_nm: np.ndarray
    """float64 `(view, xyz)`; x and y from the image's centre, z above the substrate"""
    confidence: np.ndarray
    """float64 `(view,)`: 1 where nothing in the other views speaks against this one, 0 for another molecule's view"""

    @property
    def is_accepted(self) -> np.ndarray:
        """Bool `(view,)`: the view fits the others; the poses of views that do not are worth nothing."""
        return self.confidence >= ACCEPTED_CONFIDENCE


@dataclass(frozen=True)
class Arrangement:
    """Views that are placed, and how badly they fit."""

    poses: Poses
    cost: float


class PairSearches:
    """Hypotheses of pairs, each searched once."""

    def __init__(self, loops: PoseLoops) -> None:
        self._loops = loops
        self._found: dict[tuple[int, int], PoseHypotheses] = {}

    def __call__(self, source: int, target: int) -> PoseHypotheses:
        """Return the likely poses source -> target."""
        if (source, target) not in self._found:
            self._found[source, target] = search_pair(self._loops, source, target)
        return self._found[source, target]


def register(
    heights_nm: np.ndarray,
    pixel_size_nm: float,
    height_error_nm: float = 0.0,
    xp: ModuleType = np,
    upper_nm: np.ndarray | None = None,
) -> Registration:
    """
    Find the poses of views whose orientations and offsets are unknown.

    Parameters
    ----------
    heights_nm
        float `(view, row, col)`: square height maps of one scale, 0 on the substrate.
    pixel_size_nm
        Edge of a pixel.
    height_error_nm
        A point that lies this much above a surface speaks not against a pose, as with noise or a blunt tip.
    xp
        numpy for the CPU, cupy for the GPU.
    upper_nm
        float `(view, row, col)`: what no surface lies above, where heights are a guess, as those restored from under a
        blunt tip; only points above that speak against a pose.

    Raises
    ------
    ValueError
        The images are not square, or one shows nothing above the substrate.
    """
    stack = prepare_views(heights_nm, pixel_size_nm, height_error_nm, xp, upper_nm)
    loops = pose_loops(stack, xp)
    search = PairSearches(loops)
    placed = arrange(loops, search)
    if stack.num_views == 1:
        return _registration(stack, placed, np.ones(1))
    accepted, confidence = _without_strangers(loops, placed)
    for view in np.setdiff1d(placed.views, accepted.views):
        likely = min(_with_view(loops, search, Arrangement(accepted, 0.0), int(view)), key=lambda one: one.cost)
        again, again_confidence = _refined(loops, likely.poses)
        if again_confidence[-1] >= ACCEPTED_CONFIDENCE:
            accepted, confidence = again, again_confidence
    return _registration(stack, *_with_rejected(placed, accepted, confidence))


def _refined(loops: PoseLoops, poses: Poses) -> tuple[Poses, np.ndarray]:
    """Move all poses together; return them with the confidence in each."""
    for cost in JOINT_COSTS:
        poses = refine_jointly(loops, NUM_POINTS, cost, poses)
    return poses, _confidence(loops, poses)


def _without_strangers(loops: PoseLoops, poses: Poses) -> tuple[Poses, np.ndarray]:
    """Refine, drop the view that fits worst, and so on until all fit; at least one view stays."""
    poses, confidence = _refined(loops, poses)
    while confidence.min() < ACCEPTED_CONFIDENCE and len(poses.views) > 2:
        poses, confidence = _refined(loops, poses.without(_last_of_lowest(confidence)))
    if confidence.min() < ACCEPTED_CONFIDENCE:
        return poses.first(1), np.ones(1)
    return poses, confidence


def _last_of_lowest(confidence: np.ndarray) -> int:
    return int(np.flatnonzero(confidence == confidence.min())[-1])


def _with_rejected(placed: Poses, accepted: Poses, confidence: np.ndarray) -> tuple[Poses, np.ndarray]:
    """Return all views in order: those accepted with their confidence, the others where they were, with none."""
    all_confidence = np.zeros(len(placed.views))
    all_confidence[accepted.views] = confidence
    rotations, offsets = placed.rotations.copy(), placed.offsets.copy()
    rotations[accepted.views], offsets[accepted.views] = accepted.rotations, accepted.offsets
    return Poses(placed.views, rotations, offsets).seen_from(0), all_confidence


def arrange(loops: PoseLoops, search: PairSearches) -> Poses:
    """Place all views, the first at the origin; poses in the order of the views."""
    waiting = sorted(range(1, loops.stack.num_views), key=lambda view: search(0, view).costs[0])
    start = only_pose(0)
    arrangements = [Arrangement(start, 0.0)]
    for view in waiting:
        longer = [new for old in arrangements for new in _with_view(loops, search, old, view)]
        num_kept = MAX_ARRANGEMENTS if len(longer[0].poses.views) < NUM_DECISIVE else 1
        arrangements = sorted(longer, key=lambda arrangement: arrangement.cost)[:num_kept]
    return arrangements[0].poses.in_order()


def _with_view(loops: PoseLoops, search: PairSearches, arrangement: Arrangement, view: int) -> list[Arrangement]:
    """Return the arrangement with one more view, in each of its likely poses."""
    poses = arrangement.poses
    fixed = poses.first(MAX_FIXED)
    found: list[tuple[np.ndarray, np.ndarray, float]] = []
    for anchor in range(min(len(poses.views), NUM_ANCHORS)):
        candidates = _seen_from_world(poses, anchor, search(int(poses.views[anchor]), view))
        tried = refine_hypotheses(loops, view, fixed, candidates)
        found += zip(tried.rotations, tried.offsets, tried.costs, strict=True)
        if min(cost for _, _, cost in found) < FITTING_COST:
            break
    return [
        Arrangement(poses.with_view(view, rotation, offset), arrangement.cost + cost * len(fixed.views))
        for rotation, offset, cost in found
    ]


def _seen_from_world(poses: Poses, anchor: int, found: PoseHypotheses) -> PoseArrays:
    """Turn poses anchor -> view into poses world -> view."""
    rotations = found.rotations @ poses.rotations[anchor]
    return rotations, found.rotations @ poses.offsets[anchor] + found.offsets


def _confidence(loops: PoseLoops, poses: Poses) -> np.ndarray:
    """Return float64 `(view,)` from the median over the other views of the share of points that break a surface."""
    num_views = len(poses.views)
    pairs = directed_pairs(poses.views)
    source, target = pairs.T
    source_poses = (poses.rotations[source], poses.offsets[source])
    target_poses = (poses.rotations[target], poses.offsets[target])
    shares = loops.fit_shares(NUM_POINTS, source_poses, target_poses, poses.views[pairs], CONTACT_BAND_CELLS)
    breach = np.zeros((num_views, num_views))
    breach[source, target] = shares[:, 1]
    of_pair = (breach + breach.T)[~np.eye(num_views, dtype=bool)].reshape(num_views, num_views - 1) / 2
    return np.clip(1 - np.median(of_pair, axis=1) / STRANGER_BREACH, 0, 1)


def _registration(stack: ViewStack, poses: Poses, confidence: np.ndarray) -> Registration:
    """Go from cells and middles of boxes to nm and image centres."""
    centers = stack.centers.astype(np.float64)
    offsets = poses.offsets + centers - poses.rotations @ centers[0]
    return Registration(poses.rotations, offsets * stack.cell_nm, confidence)
