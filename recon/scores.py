"""Tables of IoU: means, how sure they are, groups of equal size, and the baselines beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recon.metrics import THRESHOLDS, choose_threshold

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000

SIZE_BOUNDS_NM = (0.0, 8.0, 12.0, 20.0, np.inf)
"""Borders of the groups of iou_by_size.csv, by a protein's longest extent along the axes of its file."""


@dataclass(frozen=True)
class ScoreRow:
    """One row of iou_by_views.csv: the proteins of one split, seen with one number of views."""

    views: int
    split: str
    num_proteins: int
    iou_mean: float
    iou_std: float
    """Standard deviation over the proteins."""
    threshold: float
    iou_low: float
    """Lower end of the bootstrap interval of the mean; not a number where there is one family only."""
    iou_high: float
    mean_shape_iou: float
    """Mean IoU of the mean training shape on the same proteins."""
    best_ball_iou: float
    """Mean IoU of the best ball on the same proteins."""


@dataclass(frozen=True)
class SizeRow:
    """One row of iou_by_size.csv: the proteins of one split that are of similar size."""

    views: int
    split: str
    size_nm: str
    """Longest extent in nm, as `8-12`."""
    num_proteins: int
    iou_mean: float
    iou_low: float
    iou_high: float
    mean_shape_iou: float
    best_ball_iou: float


@dataclass(frozen=True)
class SplitScores:
    """IoU of each protein of one split, by one method and by the baselines; all arrays are `(protein,)`."""

    iou: np.ndarray
    threshold: float
    mean_shape_iou: np.ndarray
    best_ball_iou: np.ndarray
    size_nm: np.ndarray
    families: Sequence[str]
    """Cluster of relatives of each protein, or its own id."""


def at_training_threshold(iou_tables: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, float]]:
    """
    Return for each split its IoU `(protein,)` at the threshold that is best for the training proteins, and that.

    Parameters
    ----------
    iou_tables
        By split, float `(threshold, protein)` from `recon.metrics.iou_at_thresholds`; "train" among them.
    """
    chosen = choose_threshold(iou_tables["train"])
    return {split: (table[chosen], float(THRESHOLDS[chosen])) for split, table in iou_tables.items()}


def bootstrap_interval(iou: np.ndarray, families: Sequence[str]) -> tuple[float, float]:
    """
    Return the percentile bootstrap interval of a mean, at `CONFIDENCE`.

    Whole families are drawn, since relatives do not count as independent witnesses.

    Parameters
    ----------
    iou
        float `(protein,)`.
    families
        The family of each protein.
    """
    _, family = np.unique(np.asarray(families), return_inverse=True)
    num_families = int(family.max()) + 1
    if num_families < 2:
        return float("nan"), float("nan")
    sums, sizes = np.bincount(family, iou), np.bincount(family)
    rng = np.random.default_rng(0)
    draws = (rng.integers(num_families, size=num_families) for _ in range(NUM_RESAMPLES))
    means = [sums[draw].sum() / sizes[draw].sum() for draw in draws]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def score_row(views: int, split: str, scores: SplitScores) -> ScoreRow:
    """Return the row of all proteins of a split."""
    low, high = bootstrap_interval(scores.iou, scores.families)
    return ScoreRow(
        views=views,
        split=split,
        num_proteins=len(scores.iou),
        iou_mean=float(scores.iou.mean()),
        iou_std=float(scores.iou.std()),
        threshold=scores.threshold,
        iou_low=low,
        iou_high=high,
        mean_shape_iou=float(scores.mean_shape_iou.mean()),
        best_ball_iou=float(scores.best_ball_iou.mean()),
    )


def size_rows(views: int, split: str, scores: SplitScores) -> list[SizeRow]:
    """Return a row for each group of `SIZE_BOUNDS_NM` that has proteins."""
    rows = []
    for lower_nm, upper_nm in pairwise(SIZE_BOUNDS_NM):
        members = np.flatnonzero((scores.size_nm >= lower_nm) & (scores.size_nm < upper_nm))
        if not len(members):
            continue
        iou = scores.iou[members]
        low, high = bootstrap_interval(iou, [scores.families[int(member)] for member in members])
        rows.append(
            SizeRow(
                views=views,
                split=split,
                size_nm=f"{lower_nm:g}-{upper_nm:g}" if np.isfinite(upper_nm) else f"{lower_nm:g}-",
                num_proteins=len(members),
                iou_mean=float(iou.mean()),
                iou_low=low,
                iou_high=high,
                mean_shape_iou=float(scores.mean_shape_iou[members].mean()),
                best_ball_iou=float(scores.best_ball_iou[members].mean()),
            )
        )
    return rows
