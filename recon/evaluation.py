"""The scores of one run, and the files that they are written to."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpc.atomic_file import atomic_write, write_text_atomically
from recon.baselines import BEST_BALL, MEAN_SHAPE, best_ball, mean_training_shape
from recon.checkpoint import load_snapshot
from recon.distributed import Ranks
from recon.inference import predict
from recon.loading.samples import SampleMaker
from recon.loading.staging import run_data
from recon.metrics import iou_at_thresholds
from recon.network import build_model
from recon.pix2vox import Pix2Vox
from recon.run_folder import RunError, RunFolder, RunRecord, write_rows
from recon.scores import ScoreRow, SizeRow, SplitScores, at_training_threshold, score_row, size_rows
from recon.views import check_view_count

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")

NUM_SAVED_PREDICTIONS = 4
"""Training and validation proteins whose prediction is saved, of each."""

ScoresByViews = dict[int, dict[str, SplitScores]]
"""Number of views -> split -> scores."""


class Evaluation:
    """A trained network, its dataset, and the proteins of each split."""

    def __init__(self, run_path: Path, store: Path | None, device: torch.device, ranks: Ranks) -> None:
        self.run = RunFolder(run_path)
        self.record = self.run.read_record()
        self.ranks = ranks
        self.data = run_data(store or Path(self.record.config.store), self.record.config, is_online=False, ranks=ranks)
        self.maker = SampleMaker(self.data, self.record.config.frame)
        self.orders = self.run.read_view_orders()
        self.model = trained_model(self.run, self.record).to(device)
        proteins = {split: self.data.indices_of(getattr(self.record.split, split)) for split in SPLITS}
        self.proteins = {split: indices for split, indices in proteins.items() if indices}
        self._baselines = {name: self._baseline(shape) for name, shape in self._baseline_shapes().items()}

    def check_view_counts(self, view_counts: Sequence[int]) -> None:
        """Raise ValueError where a number of views is more than the dataset has."""
        for num_views in view_counts:
            check_view_count(num_views, self.data.num_views)

    def scores(self, num_views: int) -> dict[str, SplitScores]:
        """Return the scores of each split, seen with `num_views`; the ranks share the proteins."""
        tables = {split: self.iou_table(indices, num_views) for split, indices in self.proteins.items()}
        return {
            split: SplitScores(
                iou=iou,
                threshold=threshold,
                mean_shape_iou=self._baselines[MEAN_SHAPE][split][0],
                best_ball_iou=self._baselines[BEST_BALL][split][0],
                size_nm=(self.data.target_voxel_size_nm * self.data.target_size)[self.proteins[split]],
                families=[self.data.clusters[one] or self.data.protein_ids[one] for one in self.proteins[split]],
            )
            for split, (iou, threshold) in at_training_threshold(tables).items()
        }

    def rows(self, scores: ScoresByViews) -> list[ScoreRow]:
        """Return the rows of iou_by_views.csv."""
        return [score_row(views, split, one) for views, splits in scores.items() for split, one in splits.items()]

    def write(self, scores: ScoresByViews) -> None:
        """Write all tables and a few predictions into the run's folder."""
        run, data = self.run, self.data
        rows = self.rows(scores)
        by_size = [
            row
            for views, splits in scores.items()
            for split, one in splits.items()
            for row in size_rows(views, split, one)
        ]
        per_protein = [
            {"views": views, "split": split, "protein_id": data.protein_ids[protein], "iou": float(iou)}
            for views, splits in scores.items()
            for split, one in splits.items()
            for protein, iou in zip(self.proteins[split], one.iou, strict=True)
        ]
        baselines = self._baseline_rows()
        write_rows(run.iou_by_size_path, _columns(SizeRow), [asdict(row) for row in by_size])
        write_rows(run.iou_per_protein_path, ("views", "split", "protein_id", "iou"), per_protein)
        write_rows(run.baselines_path, tuple(baselines[0]), baselines)
        results = asdict(self.record) | {"scores": [_json_row(row) for row in rows], "baselines": baselines}
        del results["split"]  # long, and in config.json
        write_text_atomically(run.results_path, json.dumps(results, indent=2) + "\n")
        self._save_predictions()
        # The last file: where it is, all others are.
        write_rows(run.iou_by_views_path, _columns(ScoreRow), [asdict(row) for row in rows])

    def iou_table(self, proteins: list[int], num_views: int) -> np.ndarray:
        """Return float64 `(threshold, protein)`, the same on every rank."""
        config = self.record.config
        share: dict[int, np.ndarray] = {}
        for batch, probability in predict(
            self.model, self.maker, self.orders, proteins, num_views, config.batch_size, config.precision, self.ranks
        ):
            table = iou_at_thresholds(probability, batch.occupancy.cpu().numpy())
            share |= dict(zip(batch.protein.tolist(), table.T, strict=True))
        columns = {protein: column for part in self.ranks.gather(share) for protein, column in part.items()}
        return np.stack([columns[protein] for protein in proteins], axis=1)

    def _baseline_shapes(self) -> dict[str, np.ndarray]:
        training = self._targets(self.proteins["train"])
        return {MEAN_SHAPE: mean_training_shape(training), BEST_BALL: best_ball(training)}

    def _targets(self, proteins: list[int]) -> np.ndarray:
        """Return uint8 `(protein, z, y, x)`: the bodies in the run's frame, for any number of views."""
        first_views = [int(self.orders[self.data.protein_ids[protein]][0]) for protein in proteins]
        return np.stack([self.maker.target(*one) for one in zip(proteins, first_views, strict=True)])

    def _baseline(self, shape: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
        """Return for each split the IoU `(protein,)` of one shape for all, and its threshold."""
        tables = {}
        for split, proteins in self.proteins.items():
            columns = [iou_at_thresholds(shape[None], self._targets([protein])) for protein in proteins]
            tables[split] = np.concatenate(columns, axis=1)
        return at_training_threshold(tables)

    def _baseline_rows(self) -> list[dict[str, object]]:
        return [
            {
                "baseline": name,
                "split": split,
                "num_proteins": len(iou),
                "iou_mean": float(iou.mean()),
                "iou_std": float(iou.std()),
                "threshold": threshold,
            }
            for name, of_split in self._baselines.items()
            for split, (iou, threshold) in of_split.items()
        ]

    def _save_predictions(self) -> None:
        """Save the first proteins of training and validation, seen with as many views as in training."""
        data, num_views = self.data, self.record.config.views
        chosen = [
            (protein, split)
            for split in ("train", "validation")
            for protein in self.proteins[split][:NUM_SAVED_PREDICTIONS]
        ]
        for protein, split in chosen:
            ((batch, probability),) = predict(
                self.model, self.maker, self.orders, [protein], num_views, 1, self.record.config.precision
            )
            protein_id = data.protein_ids[protein]
            views = self.orders[protein_id][:num_views]
            with atomic_write(self.run.predictions_path / f"{split}_{protein_id}.npz") as temporary:
                np.savez_compressed(
                    temporary,
                    probability=probability[0],
                    occupancy=batch.occupancy[0].cpu().numpy(),
                    images=data.images(protein, views),
                    views=views,
                    protein_id=protein_id,
                    split=split,
                    voxel_size_nm=data.target_voxel_size_nm[protein],
                    field_of_view_nm=data.field_of_view_nm[protein],
                )


def trained_model(run: RunFolder, record: RunRecord) -> Pix2Vox:
    """Return the network of the run's last snapshot, in host memory; RunError where there is none."""
    if not run.snapshot_path.exists():
        raise RunError(f"expected a trained run in {run.path}, got one without a snapshot; train it first")
    snapshot = load_snapshot(run.snapshot_path)
    if snapshot.epoch < record.config.epochs:
        logger.warning("%s is not finished: epoch %d of %d", run.path, snapshot.epoch, record.config.epochs)
    model = build_model(record.config)
    model.load_state_dict(snapshot.model)
    return model


def _json_row(row: ScoreRow) -> dict[str, Any]:
    """Return a row for JSON, which has no word for what is not a number."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value for name, value in asdict(row).items()
    }


def _columns(row_class: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row_class))
