"""What runs have left in their folders, read for the report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon.baselines import MEAN_SHAPE
from recon.run_folder import RunError, RunFolder, RunRecord, read_rows
from recon.scores import ScoreRow


@dataclass(frozen=True)
class Prediction:
    """One saved prediction."""

    protein_id: str
    split: str
    probability: np.ndarray
    """float32 `(z, y, x)`."""
    occupancy: np.ndarray
    """uint8 `(z, y, x)`."""
    images: np.ndarray
    """float32 `(view, row, col)`: what the network saw, heights as a share of the field of view."""
    voxel_size_nm: float
    field_of_view_nm: float


@dataclass(frozen=True)
class RunResult:
    """One run: what was asked for, how the training went, and what came out."""

    name: str
    record: RunRecord
    history: list[dict[str, float]]
    scores: list[ScoreRow]
    baseline: dict[str, float]
    """Mean IoU of the mean training shape, by split."""
    predictions: list[Prediction]

    def score(self, views: int, split: str) -> ScoreRow | None:
        """Return the row for one number of views and one split, if it was scored."""
        rows = [row for row in self.scores if (row.views, row.split) == (views, split)]
        return rows[0] if rows else None

    def nearest_score(self, views: int, split: str) -> ScoreRow | None:
        """Return the row of a split for the number of views nearest to `views`, if the split was scored."""
        rows = [row for row in self.scores if row.split == split]
        return min(rows, key=lambda row: abs(row.views - views), default=None)

    @property
    def view_counts(self) -> list[int]:
        """The numbers of views that were scored, ascending."""
        return sorted({row.views for row in self.scores})


def read_results(runs: Path) -> list[RunResult]:
    """
    Read every scored run in the folder `runs`, sorted by the number of views it was trained with.

    Raises
    ------
    RunError
        There is none.
    """
    found = [read_result(path.parent) for path in sorted(runs.glob("*/iou_by_views.csv"))]
    if not found:
        raise RunError(f"expected scored runs in {runs}, found none; run `python -m recon.evaluate` first")
    return sorted(found, key=lambda result: (result.record.config.views, result.name))


def read_result(path: Path) -> RunResult:
    """Read one scored run."""
    run = RunFolder(path)
    return RunResult(
        name=path.name,
        record=run.read_record(),
        history=[{name: float(value) for name, value in row.items()} for row in read_rows(run.metrics_path)],
        scores=[_score_row(row) for row in read_rows(run.iou_by_views_path)],
        baseline={
            row["split"]: float(row["iou_mean"])
            for row in read_rows(run.baselines_path)
            if row["baseline"] == MEAN_SHAPE
        },
        predictions=[_read_prediction(file) for file in sorted(run.predictions_path.glob("*.npz"))],
    )


def _score_row(row: dict[str, str]) -> ScoreRow:
    return ScoreRow(
        views=int(row["views"]),
        split=row["split"],
        num_proteins=int(row["num_proteins"]),
        iou_mean=float(row["iou_mean"]),
        iou_std=float(row["iou_std"]),
        threshold=float(row["threshold"]),
        iou_low=float(row["iou_low"]),
        iou_high=float(row["iou_high"]),
        mean_shape_iou=float(row["mean_shape_iou"]),
        best_ball_iou=float(row["best_ball_iou"]),
    )


def _read_prediction(path: Path) -> Prediction:
    with np.load(path) as saved:
        return Prediction(
            protein_id=str(saved["protein_id"]),
            split=str(saved["split"]),
            probability=saved["probability"],
            occupancy=saved["occupancy"],
            images=saved["images"],
            voxel_size_nm=float(saved["voxel_size_nm"]),
            field_of_view_nm=float(saved["field_of_view_nm"]),
        )
