"""The scores of one answer: how near it is to the truth, whether it knows the hand, and what it finds of poses."""

from dataclasses import dataclass

import numpy as np

from recon.poses.pose_error import pose_errors_deg
from recon.shapes.calibration import calibration_sums
from recon.shapes.seen_protein import SeenProtein
from recon.shapes.shape_method import ShapeAnswer
from recon.shapes.shape_metrics import aligned_overlap, overlap, surface_scores

SMALL_POSE_ERROR_DEG = 5.0


@dataclass(frozen=True)
class ShapeScore:
    """One protein, seen with one number of views, by one method."""

    method: str
    views: int
    protein_id: str
    iou: float
    aligned_iou: float
    """IoU after the best rotation and shift"""
    chamfer_nm: float
    f_score: float
    """share of surfaces within 1 nm, harmonic mean of both ways"""
    pose_error_deg: float
    """median over the views; not a number for one view, and for methods without poses"""
    elapsed_s: float
    """of finding the poses and carving"""
    frame: str
    """what the answer lives in and is scored in, see `recon.shapes.shape_method`: view, pdb or turned"""
    threshold: float
    mirrored_iou: float
    """IoU of the mirrored body after the best rotation and shift: less than aligned_iou where the hand is known"""
    pose_within_5_deg: float
    """share of the views, the first excluded"""


@dataclass(frozen=True)
class ShapeResult:
    """What is kept of one answer."""

    score: ShapeScore
    calibration: np.ndarray
    """float64 `(bin, 3)` from `recon.shapes.calibration.calibration_sums`"""


def score_answer(seen: SeenProtein, method: str, num_views: int, answer: ShapeAnswer) -> ShapeResult:
    """
    Compare an answer with the truth in the frame that it lives in.

    Raises
    ------
    ValueError
        A probability is not finite or the grid is another one.
    """
    true = seen.truth_in(answer.frame)
    if answer.probability.shape != true.occupancy.shape:
        raise ValueError(f"{method} answered on {answer.probability.shape} voxels, expected {true.occupancy.shape}")
    if not np.isfinite(answer.probability).all():
        raise ValueError(f"{method} answered with numbers that are not finite from {num_views} views")
    body = (answer.probability >= answer.threshold).astype(np.uint8)
    surface = surface_scores(body, true.occupancy, true.voxel_size_nm)
    errors_deg = _pose_errors_deg(seen, num_views, answer)
    score = ShapeScore(
        method=method,
        views=num_views,
        protein_id=seen.protein_id,
        iou=overlap(body, true.occupancy),
        aligned_iou=aligned_overlap(body, true.occupancy),
        chamfer_nm=surface.chamfer_nm,
        f_score=surface.f_score,
        pose_error_deg=float(np.median(errors_deg)) if len(errors_deg) else float("nan"),
        elapsed_s=answer.elapsed_s,
        frame=answer.frame,
        threshold=answer.threshold,
        mirrored_iou=aligned_overlap(body[:, :, ::-1], true.occupancy),
        pose_within_5_deg=float((errors_deg <= SMALL_POSE_ERROR_DEG).mean()) if len(errors_deg) else float("nan"),
    )
    return ShapeResult(score, calibration_sums(answer.probability, true.occupancy))


def _pose_errors_deg(seen: SeenProtein, num_views: int, answer: ShapeAnswer) -> np.ndarray:
    """Return float64 `(view - 1,)`, empty for an answer without poses."""
    if answer.rotations is None:
        return np.empty(0)
    return pose_errors_deg(answer.rotations, seen.true_rotations[:num_views], seen.truth)
