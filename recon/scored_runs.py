"""Trained runs for the table: the nearest one for each number of views, refused where they know what is scored."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recon.distributed import Ranks
from recon.evaluation import trained_model
from recon.file_digest import file_digest
from recon.inference import evaluation_batches
from recon.metrics import THRESHOLDS, choose_threshold, iou_at_thresholds
from recon.network_method import NetworkMethod, TrainedNetwork
from recon.pix2vox import Pix2Vox
from recon.run_folder import RunError, RunFolder, RunRecord, read_rows
from recon.training_data import ProteinData

logger = logging.getLogger(__name__)

DEFAULT_FRAME = "pdb"
"""Of runs whose settings name none."""
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
    Load, for each number of views, the run that was trained with the nearest number.

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
        thresholds = {views: training_threshold(run, record, model, views, ranks) for views in own_views}
        network = TrainedNetwork(model, record.config.input_size, thresholds)
        networks |= dict.fromkeys(own_views, network)
    identity = " ".join(f"{views}:{file_digest(RunFolder(path).snapshot_path)}" for views, path in chosen.items())
    return NetworkMethod(name, frame, networks, identity)


def nearest_run(records: Mapping[Path, RunRecord], views: int) -> Path:
    """Return the run trained with the nearest number of views, of two the one with fewer."""
    return min(records, key=lambda path: (abs(records[path].config.views - views), records[path].config.views))


def check_run(path: Path, record: RunRecord, name: str, frame: str, scored: ScoredProteins) -> None:
    """Raise RunError unless the run answers in `frame` and has seen neither the proteins scored nor their relatives."""
    found = getattr(record.config, "frame", DEFAULT_FRAME)
    if found != frame:
        raise RunError(
            f"got --{name}-run {path}, trained with --frame {found}, expected one with --frame {frame}; give it to "
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


def training_threshold(run: RunFolder, record: RunRecord, model: Pix2Vox, num_views: int, ranks: Ranks) -> float:
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
    data = ProteinData(Path(record.config.store), record.config.input_size)
    proteins = data.indices_of(record.split.train)
    device = next(model.parameters()).device
    columns: dict[int, np.ndarray] = {}
    orders, batch_size = run.read_view_orders(), record.config.batch_size
    for batch in evaluation_batches(data, orders, proteins, num_views, batch_size, ranks):
        with torch.inference_mode():
            probability = model(batch.images.to(device)).refined.float().cpu().numpy()
        table = iou_at_thresholds(probability, batch.occupancy.numpy())  # (threshold, protein)
        columns |= dict(zip(batch.protein.tolist(), table.T, strict=True))
    all_columns = {protein: column for part in ranks.gather(columns) for protein, column in part.items()}
    iou = np.stack([all_columns[protein] for protein in proteins], axis=1)
    return float(THRESHOLDS[choose_threshold(iou)])


def _is_scored(run: RunFolder) -> bool:
    """Say whether the run's table is of its last snapshot."""
    table, snapshot = run.iou_by_views_path, run.snapshot_path
    return table.exists() and table.stat().st_mtime >= snapshot.stat().st_mtime
