"""The table of all methods that predict shapes: the same proteins, the same views, the same columns."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from afmsim.dataset import Dataset, open_dataset
from hpc.atomic_file import atomic_write
from hpc.cpu_threads import share_cores
from recon.distributed import Ranks, joined_ranks, place_in
from recon.poses.scan_cleaning import ScanConditions
from recon.poses.scan_options import scan_conditions
from recon.poses.scan_restorer import default_restorer_path
from recon.shapes.chosen_methods import chosen_methods
from recon.shapes.file_digest import file_digest
from recon.shapes.score_journal import ScoreJournal
from recon.shapes.scored_proteins import chosen_proteins
from recon.shapes.seen_protein import SeenProtein
from recon.shapes.shape_method import ShapeMethod
from recon.shapes.shape_score import ShapeResult, ShapeScore
from recon.shapes.shape_scoring import ShapeFailure, score_proteins, seen_for_task
from recon.shapes.shape_tables import ShapeRow, table_rows, write_failures, write_tables
from recon.shapes.shape_task import ShapeTask
from recon.split import families_of
from recon.torch_device import torch_device
from recon.views import check_view_count

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeTable:
    """What came of a task."""

    rows: list[ShapeRow]
    failures: list[ShapeFailure]
    """proteins that could not be scored; they are in no row"""


def evaluate_shapes(task: ShapeTask, out: Path) -> ShapeTable:
    """
    Score methods protein by protein; write the table, the scores of each protein and three predictions.

    Ranks (torchrun, srun, submitit) share the proteins. `out` is the table; beside it lie `<stem>_per_protein.csv`,
    `<stem>_calibration.csv`, `<stem>_failures.csv` and, of the last method's largest number of views,
    `<stem>_best.npz`, `<stem>_median.npz` and `<stem>_worst.npz`. Poses and scores are kept in `<stem>_poses/`: the
    same command goes on where it was stopped, or adds a method without doing the others again.

    Raises
    ------
    ValueError
        The dataset has too few views, no heights or no protein of the split, a method lacks what it needs, or no
        protein can be scored.
    recon.distributed.OtherRankError, recon.distributed.LostRankError
        Another rank failed or vanished.
    """
    dataset = open_dataset(task.store)
    if dataset.rendering != "height":
        raise ValueError(f"{task.store} holds {dataset.rendering} images; orientations are found from heights only")
    for num_views in task.view_counts:
        check_view_count(num_views, dataset.num_views)
    proteins = chosen_proteins(dataset, task)
    conditions = conditions_of(task)
    folder = out.with_name(f"{out.stem}_poses")
    place = place_in(os.environ)
    device = torch_device(task.device, place.local_rank)
    with joined_ranks(place, device) as ranks, ScoreJournal(folder, place.rank) as journal:
        _share_cores(ranks)
        methods = chosen_methods(task, dataset, proteins, folder, device, ranks)
        if ranks.is_main:  # after all that is refused without a trace
            journal.claim(_settings(dataset, task))
        results, failures = score_proteins(dataset, task, conditions, proteins, methods, journal, ranks)
        if ranks.is_main:
            write_failures(out, failures)
        if not results:
            raise ValueError(f"no protein could be scored; the first, {failures[0].protein_id}: {failures[0].reason}")
        rows = table_rows(results, task.split, families_of(dataset))
        if ranks.is_main:
            save_shown(dataset, task, conditions, methods[-1], results, out)
            write_tables(out, rows, results)
        ranks.barrier()
    return ShapeTable(rows, failures)


def conditions_of(task: ShapeTask) -> ScanConditions:
    """Return how a task's views are scanned."""
    return scan_conditions(task.noise_sigma_nm, task.tip_radius_nm, task.tip_half_angle_deg, task.restorer)


def _settings(dataset: Dataset, task: ShapeTask) -> dict[str, object]:
    """Return what every score depends on, whatever the method."""
    settings = {
        "dataset": dataset.config,
        "target_size": task.target_size,
        "noise_sigma_nm": task.noise_sigma_nm,
        "seed": task.seed,
    }
    if task.has_tip:
        settings |= {
            "tip_radius_nm": task.tip_radius_nm,
            "tip_half_angle_deg": task.tip_half_angle_deg,
            "restorer": file_digest(task.restorer or default_restorer_path()),
        }
    return settings


def _share_cores(ranks: Ranks) -> None:
    """Give each rank its share of the cores that others see too."""
    own = (os.uname().nodename, tuple(sorted(os.sched_getaffinity(0))))
    num_threads = share_cores(ranks.gather(own).count(own))
    torch.set_num_threads(min(num_threads, torch.get_num_threads()))


def save_shown(
    dataset: Dataset,
    task: ShapeTask,
    conditions: ScanConditions,
    method: ShapeMethod,
    results: Sequence[ShapeResult],
    out: Path,
) -> None:
    """Predict the best, the median and the worst protein of a method once more, and save them with their truth."""
    most_views = max(task.view_counts)
    scores = [one.score for one in results if (one.score.method, one.score.views) == (method.name, most_views)]
    ranked = sorted(scores, key=lambda score: score.iou)
    for name, score in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2]), ("best", ranked[-1])):
        seen = seen_for_task(dataset, task, conditions, dataset.protein_ids.index(score.protein_id))
        _save_prediction(seen, method, score, out.with_name(f"{out.stem}_{name}.npz"))


def _save_prediction(seen: SeenProtein, method: ShapeMethod, score: ShapeScore, path: Path) -> None:
    answer = method.predict(seen, score.views)
    true = seen.truth_in(answer.frame)
    with atomic_write(path) as temporary:
        np.savez_compressed(
            temporary,
            probability=answer.probability,
            occupancy=true.occupancy,
            protein_id=score.protein_id,
            method=score.method,
            views=score.views,
            iou=score.iou,
            threshold=answer.threshold,
            frame=answer.frame,
            voxel_size_nm=true.voxel_size_nm,
        )
