"""The tables of scores: one row per number of views and method, one per protein, one per bin of probability."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from recon.run_folder import write_rows
from recon.scores import bootstrap_interval
from recon.shapes.calibration import calibration_bins, calibration_error
from recon.shapes.shape_score import ShapeResult, ShapeScore
from recon.shapes.shape_scoring import ShapeFailure


@dataclass(frozen=True)
class ShapeRow:
    """One row of the table: the proteins of a split, seen with one number of views, by one method."""

    views: int
    split: str
    num_proteins: int
    iou_mean: float
    iou_std: float
    threshold: float
    chamfer_nm_mean: float
    pose_error_deg_median: float
    """not a number for methods without poses"""
    method: str
    iou_low: float
    """bootstrap interval of the mean over families"""
    iou_high: float
    aligned_iou_mean: float
    f_score_mean: float
    elapsed_s_median: float
    frame: str
    """what answers live in and are scored in, see `recon.shapes.shape_method`: view, pdb or turned"""
    mirrored_iou_mean: float
    """IoU of the mirrored body after the best rotation and shift"""
    pose_within_5_deg: float
    """share of views"""
    calibration_error: float
    """expected error of the probability of a voxel"""


@dataclass(frozen=True)
class CalibrationRow:
    """One row of `<stem>_calibration.csv`; a bin without voxels has no means."""

    method: str
    views: int
    probability_low: float
    probability_high: float
    mean_probability: float
    true_share: float
    num_voxels: int


def table_rows(results: Sequence[ShapeResult], split: str, families: Mapping[str, str]) -> list[ShapeRow]:
    """Return one row per number of views and method, in the order in which they come."""
    return [_row(split, group, families) for group in _groups(results)]


def calibration_rows(results: Sequence[ShapeResult]) -> list[CalibrationRow]:
    """Return a row per method, number of views and bin."""
    return [
        CalibrationRow(
            group[0].score.method,
            group[0].score.views,
            *(one.low, one.high, one.mean_probability, one.true_share, one.num_voxels),
        )
        for group in _groups(results)
        for one in calibration_bins(_calibration(group))
    ]


def write_failures(out: Path, failures: Sequence[ShapeFailure]) -> None:
    """Write the proteins that are in no row, beside the table; an empty list takes the place of an older one."""
    _write(out.with_name(f"{out.stem}_failures.csv"), ShapeFailure, failures)


def write_tables(out: Path, rows: Sequence[ShapeRow], results: Sequence[ShapeResult]) -> None:
    """Write the table last: where it is, all others are."""
    for name, row_class, own in (
        ("per_protein", ShapeScore, [result.score for result in results]),
        ("calibration", CalibrationRow, calibration_rows(results)),
    ):
        _write(out.with_name(f"{out.stem}_{name}.csv"), row_class, own)
    _write(out, ShapeRow, rows)


def _write(path: Path, row_class: type, rows: Sequence[object]) -> None:
    columns = tuple(field.name for field in fields(row_class))
    write_rows(path, columns, [asdict(row) for row in rows])  # type: ignore[call-overload]


def _groups(results: Sequence[ShapeResult]) -> list[list[ShapeResult]]:
    groups: dict[tuple[int, str], list[ShapeResult]] = {}
    for result in results:
        groups.setdefault((result.score.views, result.score.method), []).append(result)
    return list(groups.values())


def _calibration(group: Sequence[ShapeResult]) -> np.ndarray:
    return np.sum([result.calibration for result in group], axis=0)


def _row(split: str, group: Sequence[ShapeResult], families: Mapping[str, str]) -> ShapeRow:
    scores = [result.score for result in group]
    first = scores[0]
    iou = np.array([score.iou for score in scores])
    low, high = bootstrap_interval(iou, [families[score.protein_id] for score in scores])

    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores]))

    def median(name: str) -> float:
        return float(np.median([getattr(score, name) for score in scores]))

    return ShapeRow(
        views=first.views,
        split=split,
        num_proteins=len(scores),
        iou_mean=float(iou.mean()),
        iou_std=float(iou.std()),
        threshold=first.threshold,
        chamfer_nm_mean=mean("chamfer_nm"),
        pose_error_deg_median=median("pose_error_deg"),
        method=first.method,
        iou_low=low,
        iou_high=high,
        aligned_iou_mean=mean("aligned_iou"),
        f_score_mean=mean("f_score"),
        elapsed_s_median=median("elapsed_s"),
        frame=first.frame,
        mirrored_iou_mean=mean("mirrored_iou"),
        pose_within_5_deg=mean("pose_within_5_deg"),
        calibration_error=calibration_error(_calibration(group)),
    )
