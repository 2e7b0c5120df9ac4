"""
Score a trained run by intersection over union, for several numbers of views.

Training, validation and test proteins are those of the run's config.json; each is seen by a fixed draw of its views,
which the run keeps in evaluation_views.csv. The
threshold is chosen on the training proteins, once per number of views. Written into the run's folder:

    iou_by_views.csv      mean and spread per number of views and split
    iou_per_protein.csv   the same, protein by protein
    baselines.csv         what the mean training shape reaches without looking at an image
    predictions/*.npz     probability and truth of a few proteins of each split
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging

if TYPE_CHECKING:
    import numpy as np

    from recon.inference import ViewOrders
    from recon.pix2vox import Pix2Vox
    from recon.run_folder import RunFolder, RunRecord
    from recon.training_data import ProteinData

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
DEFAULT_VIEW_COUNTS = (1, 3, 5, 8, 10)
NUM_SAVED_PREDICTIONS = 4
"""Training and validation proteins whose prediction is saved, of each."""


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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.evaluate`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of recon.train")
    parser.add_argument(
        "--views",
        type=int,
        nargs="+",
        default=list(DEFAULT_VIEW_COUNTS),
        help="numbers of views to score with (default: 1 3 5 8 10)",
    )
    parser.add_argument("--store", type=Path, help="dataset (default: the one that the run was trained on)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="what computes (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        rows = evaluate(arguments.run, arguments.views, arguments.store, arguments.device)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"recon.evaluate: {error}\n")
        return 2
    for row in rows:
        logger.info("%2d views, %-10s IoU %.3f +- %.3f", row.views, row.split, row.iou_mean, row.iou_std)
    return 0


def evaluate(
    run_path: Path, view_counts: Sequence[int], store: Path | None = None, device_name: str = "auto"
) -> list[ScoreRow]:
    """
    Score the run's last snapshot and write the results into its folder; return the rows of iou_by_views.csv.

    Raises
    ------
    ValueError
        There is no trained run, or the dataset lacks its proteins or that many views.
    """
    from recon.run_folder import RunFolder, write_rows
    from recon.training_data import ProteinData
    from recon.views import check_view_count

    run = RunFolder(run_path)
    record = run.read_record()
    data = ProteinData(store or Path(record.config.store), record.config.input_size)
    for num_views in view_counts:
        check_view_count(num_views, data.num_views)
    model = _trained_model(run, record, device_name)
    orders = run.read_view_orders()
    proteins = {split: data.indices_of(getattr(record.split, split)) for split in SPLITS}
    proteins = {split: indices for split, indices in proteins.items() if indices}
    score_rows: list[ScoreRow] = []
    protein_rows: list[dict[str, object]] = []
    for num_views in sorted(set(view_counts)):
        iou_tables = {
            split: _iou_table(model, data, orders, indices, num_views, record.config.batch_size)
            for split, indices in proteins.items()
        }
        for split, iou, threshold in _at_training_threshold(iou_tables):
            score_rows.append(_score_row(num_views, split, iou, threshold))
            protein_rows += [
                {"views": num_views, "split": split, "protein_id": data.protein_ids[protein], "iou": float(value)}
                for protein, value in zip(proteins[split], iou, strict=True)
            ]
    baseline_rows = _baseline_rows(data, proteins)
    write_rows(run.iou_by_views_path, tuple(ScoreRow.__annotations__), [asdict(row) for row in score_rows])
    write_rows(run.iou_per_protein_path, ("views", "split", "protein_id", "iou"), protein_rows)
    write_rows(run.baselines_path, tuple(baseline_rows[0]), baseline_rows)
    _save_predictions(model, data, orders, proteins, run, record)
    return score_rows


def _trained_model(run: "RunFolder", record: "RunRecord", device_name: str) -> "Pix2Vox":
    from recon.checkpoint import load_snapshot
    from recon.network import build_model
    from recon.run_folder import RunError
    from recon.torch_device import torch_device

    if not run.snapshot_path.exists():
        raise RunError(f"expected a trained run in {run.path}, got one without a snapshot; train it first")
    snapshot = load_snapshot(run.snapshot_path)
    if snapshot.epoch < record.config.epochs:
        logger.warning("%s is not finished: epoch %d of %d", run.path, snapshot.epoch, record.config.epochs)
    model = build_model(record.config)
    model.load_state_dict(snapshot.model)
    return model.to(torch_device(device_name))


def _iou_table(
    model: "Pix2Vox",
    data: "ProteinData",
    orders: "ViewOrders",
    proteins: list[int],
    num_views: int,
    batch_size: int,
) -> "np.ndarray":
    """Return float64 `(threshold, protein)`."""
    import numpy as np

    from recon.inference import predict
    from recon.metrics import iou_at_thresholds

    batches = predict(model, data, orders, proteins, num_views, batch_size)
    tables = [iou_at_thresholds(probability, data.occupancy[indices]) for indices, probability in batches]
    return np.concatenate(tables, axis=1)


def _at_training_threshold(iou_tables: "dict[str, np.ndarray]") -> "list[tuple[str, np.ndarray, float]]":
    """Return for each split its IoU `(protein,)` at the threshold that is best for the training proteins."""
    from recon.metrics import THRESHOLDS, choose_threshold

    chosen = choose_threshold(iou_tables["train"])
    return [(split, table[chosen], float(THRESHOLDS[chosen])) for split, table in iou_tables.items()]


def _score_row(num_views: int, split: str, iou: "np.ndarray", threshold: float) -> ScoreRow:
    return ScoreRow(num_views, split, len(iou), float(iou.mean()), float(iou.std()), threshold)


def _baseline_rows(data: "ProteinData", proteins: dict[str, list[int]]) -> list[dict[str, object]]:
    import numpy as np

    from recon.baselines import MEAN_SHAPE, mean_training_shape
    from recon.metrics import iou_at_thresholds

    mean_shape = mean_training_shape(data.occupancy[proteins["train"]])
    tables = {}
    for split, indices in proteins.items():
        truth = data.occupancy[indices]
        tables[split] = iou_at_thresholds(np.broadcast_to(mean_shape, truth.shape), truth)
    rows = []
    for split, iou, threshold in _at_training_threshold(tables):
        row = asdict(_score_row(0, split, iou, threshold))
        rows.append({"baseline": MEAN_SHAPE} | {name: value for name, value in row.items() if name != "views"})
    return rows


def _save_predictions(
    model: "Pix2Vox",
    data: "ProteinData",
    orders: "ViewOrders",
    proteins: dict[str, list[int]],
    run: "RunFolder",
    record: "RunRecord",
) -> None:
    """Save the first proteins of training and validation, seen with as many views as in training."""
    import numpy as np

    from hpc.atomic_file import atomic_write
    from recon.inference import predict

    config = record.config
    chosen = [
        (protein, split) for split in ("train", "validation") for protein in proteins[split][:NUM_SAVED_PREDICTIONS]
    ]
    for protein, split in chosen:
        ((_, probability),) = predict(model, data, orders, [protein], config.views, 1)
        protein_id = data.protein_ids[protein]
        views = orders[protein_id][: config.views]
        with atomic_write(run.predictions_path / f"{split}_{protein_id}.npz") as temporary:
            np.savez_compressed(
                temporary,
                probability=probability[0],
                occupancy=data.occupancy[protein],
                images=data.images(protein, views),
                views=views,
                protein_id=protein_id,
                split=split,
                voxel_size_nm=data.target_voxel_size_nm[protein],
                field_of_view_nm=data.field_of_view_nm[protein],
            )


if __name__ == "__main__":
    sys.exit(main())
