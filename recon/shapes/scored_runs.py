"""Trained runs for the table: the nearest one for each number of views, refused where they know what is scored."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from recon.distributed import Ranks
from recon.evaluation import Evaluation, trained_model
from recon.metrics import THRESHOLDS, choose_threshold
from recon.run_folder import RunError, RunFolder, RunRecord, read_rows
from recon.shapes.file_digest import file_digest
from recon.shapes.network_method import NetworkMethod, TrainedNetwork
from recon.shapes.shape_method import PDB_FRAME, TURNED_FRAME

logger = logging.getLogger(__name__)

TRAINED_FRAMES = {PDB_FRAME: "pdb", TURNED_FRAME: "view"}
"""What the setting `frame` of a run says for the frame of its answers."""
NETWORK_SIZE = 32
"""Voxels per axis of what Pix2Vox++ predicts."""


@dataclass(frozen=True)
class ScoredProteins:
    """What is scored, and who is related to whom."""

    protein_ids: Sequence[str]
    families: Mapping[str, str]
    """of all proteins of the dataset"""


def network_method(
    name: str,
    frame: str,
    runs: Sequence[Path],
    view_counts: Sequence[int],
    scored: ScoredProteins,
    device: torch.device,
    ranks: Ranks,
) -> NetworkMethod:
    """
    Load, for each number of views, the run trained with the nearest number; one of single views sees the first view.

    Raises
    ------
    recon.run_folder.RunError
        A run was trained in another frame, or on proteins that are scored or on their relatives.
    """
    records = {path: RunFolder(path).read_record() for path in runs}
    for path, record in records.items():
        check_run(path, record, name, frame, scored)
    chosen = {views: nearest_run(records, views) for views in view_counts}
    networks: dict[int, TrainedNetwork] = {}
    for path in dict.fromkeys(chosen.values()):
        own_views = [views for views in view_counts if chosen[views] == path]
        run, record = RunFolder(path), records[path]
        model = trained_model(run, record).to(device).eval()
        is_single = record.config.views == 1
        thresholds = {views: training_threshold(run, 1 if is_single else views, device, ranks) for views in own_views}
        network = TrainedNetwork(model, record.config.input_size, record.config.precision, thresholds, is_single)
        networks |= dict.fromkeys(own_views, network)
    identity = " ".join(f"{views}:{file_digest(RunFolder(path).snapshot_path)}" for views, path in chosen.items())
    return NetworkMethod(name, frame, networks, identity)


def nearest_run(records: Mapping[Path, RunRecord], views: int) -> Path:
    """Return the run trained with the nearest number of views, of two the one with fewer."""
    return min(records, key=lambda path: (abs(records[path].config.views - views), records[path].config.views))


def check_run(path: Path, record: RunRecord, name: str, frame: str, scored: ScoredProteins) -> None:
    """Raise RunError unless the run answers in `frame` and has seen neither the proteins scored nor their relatives."""
    found, expected = record.config.frame, TRAINED_FRAMES[frame]
    if found != expected:
        raise RunError(
            f"got --{name}-run {path}, trained with --frame {found}, expected one with --frame {expected}; give it to "
            "the method of its own frame, or train another"
        )
    families = scored.families
    trained = {families.get(protein_id, protein_id) for protein_id in record.split.train}
    known = [protein_id for protein_id in scored.protein_ids if families[protein_id] in trained]
    if known:
        raise RunError(
            f"{path} was trained on {len(known)} of the {len(scored.protein_ids)} proteins scored here or on their "
            f"relatives, such as {known[0]}; score its test proteins with --split test --test-fraction "
            f"{record.config.test_fraction:g} --seed {record.config.seed}, or give a run that never saw them"
        )


def training_threshold(run: RunFolder, num_views: int, device: torch.device, ranks: Ranks) -> float:
    """
    Return the threshold that is best for the run's training proteins.

    It stands in the run's own table where `recon.evaluate --run` scored it with as many views; otherwise it is chosen
    here in the same way.
    """
    is_fresh = ranks.gather(_is_scored(run))[0]
    for row in read_rows(run.iou_by_views_path) if is_fresh else ():
        if (row["views"], row["split"]) == (str(num_views), "train"):
            return float(row["threshold"])
    logger.info("%s: choosing the threshold for %d views on its training proteins", run.path, num_views)
    evaluation = Evaluation(run.path, None, device, ranks)
    return float(THRESHOLDS[choose_threshold(evaluation.iou_table(evaluation.proteins["train"], num_views))])


def _is_scored(run: RunFolder) -> bool:
    """Say whether the run's table is of its last snapshot."""
    table, snapshot = run.iou_by_views_path, run.snapshot_path
    return table.exists() and table.stat().st_mtime >= snapshot.stat().st_mtime
