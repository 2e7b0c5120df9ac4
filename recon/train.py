"""
Train Pix2Vox++ on a dataset of virtual AFM images.

The run's folder holds config.json, metrics.csv, TensorBoard scalars and, after each epoch, the whole state:
the same command started again goes on where the run stopped.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from hpc.progress import Progress
from hpc.settings import add_setting_arguments, settings_from
from recon.run_folder import RunFolder, RunRecord, installed_versions
from recon.split import split_proteins
from recon.train_config import TrainConfig

if TYPE_CHECKING:
    from recon.trainer import Trainer

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.train`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of this run, made if absent")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="what computes; auto is a GPU where there is one (default: %(default)s)",
    )
    add_setting_arguments(parser, TrainConfig)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    from recon.trainer import NonFiniteLossError

    try:
        train(settings_from(TrainConfig, vars(arguments)), arguments.run, arguments.device)
    except (ValueError, OSError, NonFiniteLossError) as error:
        sys.stderr.write(f"recon.train: {error}\n")
        return 1 if isinstance(error, NonFiniteLossError) else 2
    return 0


def train(config: TrainConfig, run_path: Path, device_name: str = "auto") -> None:
    """
    Train to the last epoch, from the run's snapshot where there is one.

    Raises
    ------
    ValueError
        The settings, the dataset and the run's folder do not fit together.
    recon.trainer.NonFiniteLossError
        The loss left the numbers; the last snapshot is that of the epoch before.
    """
    from torch.utils.tensorboard import SummaryWriter

    from recon.checkpoint import load_snapshot, save_snapshot

    config = replace(config, store=str(Path(config.store).resolve()))
    run = RunFolder(run_path)
    trainer = _build_trainer(config, run, device_name)
    if run.snapshot_path.exists():
        trainer.restore(load_snapshot(run.snapshot_path))
        run.write_metrics(trainer.history)
    if trainer.epoch == config.epochs:
        logger.info("%s is finished: all %d epochs are trained", run.path, config.epochs)
        return
    first_epoch = trainer.epoch
    logger.info("training %s on %s, epoch %d to %d", run.path, trainer.device, first_epoch, config.epochs - 1)
    with (
        SummaryWriter(run.tensorboard_path, purge_step=first_epoch) as writer,
        Progress(config.epochs - first_epoch, f"training with {config.views} views") as progress,
    ):
        while trainer.epoch < config.epochs:
            metrics = trainer.train_epoch()
            save_snapshot(run.snapshot_path, trainer.snapshot())
            run.write_metrics(trainer.history)
            for name in ("train_loss", "train_iou", "validation_loss", "validation_iou"):
                writer.add_scalar(name.replace("_", "/"), getattr(metrics, name), metrics.epoch)
            progress.update(
                trainer.epoch - first_epoch,
                f"loss {metrics.train_loss:.4f}, IoU {metrics.train_iou:.3f} (validation {metrics.validation_iou:.3f})",
            )
    logger.info("%s: trained %d epochs in %.0f s", run.path, trainer.epoch, metrics.elapsed_s)


def _build_trainer(config: TrainConfig, run: RunFolder, device_name: str) -> "Trainer":
    from recon.torch_device import torch_device
    from recon.trainer import Trainer
    from recon.training_data import ProteinData
    from recon.views import check_view_count, evaluation_order

    data = ProteinData(Path(config.store), config.input_size)
    check_view_count(config.views, data.num_views)
    split = split_proteins(
        data.protein_ids, data.clusters, config.seed, config.validation_fraction, config.test_fraction
    )
    orders = {name: evaluation_order(config.seed, name, data.num_views) for name in data.protein_ids}
    trainer = Trainer(config, data, split, orders, torch_device(device_name))
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    record = RunRecord(config, split, num_parameters, str(trainer.device), installed_versions())
    run.claim(record)
    run.keep_view_orders(orders)
    return trainer


if __name__ == "__main__":
    sys.exit(main())
