"""The table of methods that find orientations themselves: which proteins, which rows, which files."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from afmsim.dataset import Dataset, open_dataset
from hpc.atomic_file import atomic_write
from recon.run_folder import write_rows
from recon.scan_options import TIP_HALF_ANGLE_DEG, TIP_RESTORER, scan_conditions
from recon.scores import bootstrap_interval
from recon.shape_evaluation import THRESHOLD, ShapePrediction, ShapeScore, load_refiner_for, predictions, see_protein
from recon.split import split_proteins
from recon.train_config import TrainConfig
from recon.views import check_view_count, evaluation_order

logger = logging.getLogger(__name__)

ALL = "all"
SPLITS = (ALL, "train", "validation", "test")


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
    method: str
    iou_low: float
    """bootstrap interval of the mean over families"""
    iou_high: float
    aligned_iou_mean: float
    f_score_mean: float
    elapsed_s_median: float


@dataclass(frozen=True)
class ShapeTask:
    """What is scored."""

    store: Path
    methods: Sequence[str]
    view_counts: Sequence[int]
    split: str = ALL
    refiner: Path | None = None
    target_size: int = 32
    validation_fraction: float = TrainConfig.validation_fraction
    test_fraction: float = TrainConfig.test_fraction
    max_proteins: int | None = None
    exclude: Path | None = None
    noise_sigma_nm: float = 0.0
    tip_radius_nm: float | None = None
    tip_half_angle_deg: float = TIP_HALF_ANGLE_DEG
    restorer: Path = TIP_RESTORER
    seed: int = 0


def evaluate_shapes(task: ShapeTask, out: Path) -> list[ShapeRow]:
    """
    Score methods protein by protein; write the table, the scores of each protein and three predictions.

    `out` is the table; beside it lie `<stem>_per_protein.csv` and, of the first method's largest number of views,
    `<stem>_best.npz`, `<stem>_median.npz` and `<stem>_worst.npz`. Poses that were found are kept in `<stem>_poses/`:
    the same command goes on where it was stopped, or adds a method without looking for them again.

    Raises
    ------
    ValueError
        The dataset has too few views, no heights or no protein of the split, or the refiner is missing.
    """
    dataset = open_dataset(task.store)
    if dataset.rendering != "height":
        raise ValueError(f"{task.store} holds {dataset.rendering} images; orientations are found from heights only")
    for num_views in task.view_counts:
        check_view_count(num_views, dataset.num_views)
    refiner = load_refiner_for(task.methods, task.refiner)
    conditions = scan_conditions(task.noise_sigma_nm, task.tip_radius_nm, task.tip_half_angle_deg, task.restorer)
    proteins = chosen_proteins(dataset, task)
    poses = out.with_name(f"{out.stem}_poses")
    scores: list[ShapeScore] = []
    shown: list[ShapePrediction] = []
    for number, protein in enumerate(proteins):
        order = evaluation_order(task.seed, dataset.protein_ids[protein], dataset.num_views)
        seen = see_protein(dataset, protein, order[: max(task.view_counts)], task.target_size, conditions)
        for prediction in predictions(seen, task.methods, sorted(set(task.view_counts)), refiner, poses):
            scores.append(prediction.score)
        shown.append(prediction)  # the last method with the most views
        logger.info("%d of %d: %s, IoU %.3f", number + 1, len(proteins), seen.protein_id, prediction.score.iou)
    rows = table_rows(scores, task.split, _families(dataset))
    _save_shown(shown, out)
    per_protein = [asdict(score) for score in scores]
    write_rows(out.with_name(f"{out.stem}_per_protein.csv"), _columns(ShapeScore), per_protein)
    write_rows(out, _columns(ShapeRow), [asdict(row) for row in rows])
    return rows


def chosen_proteins(dataset: Dataset, task: ShapeTask) -> list[int]:
    """Return the indices of the proteins of the task's split, without those of excluded families."""
    done = [int(index) for index in dataset.done_indices]
    ids = [dataset.protein_ids[index] for index in done]
    families = _families(dataset)
    chosen = set(ids)
    if task.split != ALL:
        clusters = [dataset.table[index]["cluster"] for index in done]
        split = split_proteins(ids, clusters, task.seed, task.validation_fraction, task.test_fraction)
        chosen = set(getattr(split, task.split))
    if task.exclude is not None:
        excluded = set(task.exclude.read_text(encoding="utf-8").split())
        bad_families = {families[name] for name in ids if name in excluded}
        chosen = {name for name in chosen if families[name] not in bad_families}
    proteins = [index for index, name in zip(done, ids, strict=True) if name in chosen][: task.max_proteins]
    if not proteins:
        raise ValueError(f"got no finished protein in the split {task.split!r} of {dataset.path}; take another split")
    return proteins


def table_rows(scores: Sequence[ShapeScore], split: str, families: dict[str, str]) -> list[ShapeRow]:
    """Return one row per number of views and method, in the order in which they come."""
    groups: dict[tuple[int, str], list[ShapeScore]] = {}
    for score in scores:
        groups.setdefault((score.views, score.method), []).append(score)
    return [_row(views, split, method, group, families) for (views, method), group in groups.items()]


def _row(views: int, split: str, method: str, scores: list[ShapeScore], families: dict[str, str]) -> ShapeRow:
    iou = np.array([score.iou for score in scores])
    low, high = bootstrap_interval(iou, [families[score.protein_id] for score in scores])
    return ShapeRow(
        views=views,
        split=split,
        num_proteins=len(scores),
        iou_mean=float(iou.mean()),
        iou_std=float(iou.std()),
        threshold=THRESHOLD,
        chamfer_nm_mean=float(np.mean([score.chamfer_nm for score in scores])),
        pose_error_deg_median=float(np.median([score.pose_error_deg for score in scores])),
        method=method,
        iou_low=low,
        iou_high=high,
        aligned_iou_mean=float(np.mean([score.aligned_iou for score in scores])),
        f_score_mean=float(np.mean([score.f_score for score in scores])),
        elapsed_s_median=float(np.median([score.elapsed_s for score in scores])),
    )


def _families(dataset: Dataset) -> dict[str, str]:
    return {row["protein_id"]: row["cluster"] or row["protein_id"] for row in dataset.table}


def _save_shown(shown: Sequence[ShapePrediction], out: Path) -> None:
    """Save the best, the median and the worst prediction."""
    ranked = sorted(shown, key=lambda prediction: prediction.score.iou)
    for name, prediction in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2]), ("best", ranked[-1])):
        with atomic_write(out.with_name(f"{out.stem}_{name}.npz")) as temporary:
            np.savez_compressed(
                temporary,
                probability=prediction.probability,
                occupancy=prediction.truth,
                protein_id=prediction.score.protein_id,
                method=prediction.score.method,
                views=prediction.score.views,
                iou=prediction.score.iou,
                voxel_size_nm=prediction.voxel_size_nm,
            )


def _columns(row_class: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row_class))
