"""
Train Pix2Vox++ on a dataset of virtual AFM images.

The run's folder holds config.json, metrics.csv, TensorBoard scalars and the whole state, saved after each epoch, every
ten minutes, and when a signal announces the end: the same command started again goes on at the same step.

One process, or the ranks that torchrun, srun or submitit start; their number does not change what is trained.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from hpc.settings import add_setting_arguments, settings_from
from hpc.stop_signal import EXIT_TERMINATED, EXIT_TO_BE_CONTINUED, StopRequest
from recon.distributed import LostRankError, OtherRankError, Ranks, joined_ranks, place_in
from recon.run_folder import RunFolder, RunRecord, installed_versions, source_commit
from recon.split import split_proteins, thinned
from recon.train_config import TrainConfig

if TYPE_CHECKING:
    import torch

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
    place = place_in(os.environ)
    set_up_logging(place.rank, place.size)
    with StopRequest() as stop:
        from recon.trainer import NonFiniteLossError

        try:
            return train(settings_from(TrainConfig, vars(arguments)), arguments.run, arguments.device, stop)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"recon.train: {error}\n")
            return 2
        except (NonFiniteLossError, OtherRankError) as error:
            sys.stderr.write(f"recon.train: {error}\n")
            return 1


def train(config: TrainConfig, run_path: Path, device_name: str = "auto", stop: StopRequest | None = None) -> int:
    """
    Train to the last epoch, from the run's snapshot where there is one, together with the other ranks.

    Returns
    -------
    int
        The status to end with: 0 when the last epoch is trained, `EXIT_TO_BE_CONTINUED` when the same call would
        go on (a time limit or a preemption was announced, or a rank was lost), `EXIT_TERMINATED` when the job is
        being ended by others.

    Raises
    ------
    ValueError
        The settings, the dataset and the run's folder do not fit together.
    recon.trainer.NonFiniteLossError
        The loss left the numbers; the last snapshot is that of the epoch before.
    recon.distributed.OtherRankError
        Another rank failed; the message says how.
    """
    from recon.torch_device import torch_device

    config = replace(config, store=str(Path(config.store).resolve()))
    if config.start_from:
        config = replace(config, start_from=str(Path(config.start_from).resolve()))
    place = place_in(os.environ)
    device = torch_device(device_name, place.local_rank)
    try:
        with joined_ranks(place, device) as ranks:
            trainer = _build_trainer(config, RunFolder(run_path), device, ranks)
            return _train_to_the_end(trainer, RunFolder(run_path), stop or StopRequest())
    except LostRankError as error:
        logger.warning("%s", error)
        return EXIT_TO_BE_CONTINUED


def _train_to_the_end(trainer: "Trainer", run: RunFolder, stop: StopRequest) -> int:
    from recon.run_recorder import RunRecorder

    config, ranks = trainer.config, trainer.ranks
    if trainer.epoch == config.epochs:
        logger.info("%s is finished: all %d epochs are trained", run.path, config.epochs)
        return 0
    logger.info(
        "training %s on %s, %d ranks, from epoch %d, step %d, to epoch %d",
        *(run.path, trainer.device, ranks.size, trainer.epoch, trainer.step_in_epoch, config.epochs - 1),
    )
    with RunRecorder(run, trainer) if ranks.is_main else nullcontext() as recorder:
        while trainer.epoch < config.epochs:
            for _ in trainer.steps():
                if recorder:
                    recorder.step_taken()
                # Ranks may get the signal before or after the same step; they agree on where to stop.
                wants_requeue, wants_end = ranks.sum([stop.wants_requeue, stop.wants_end])
                if wants_requeue or wants_end:
                    if recorder:
                        recorder.save()
                    ranks.barrier()  # no rank ends, and has the others ended, before the snapshot is there
                    logger.info("%s: stopped after step %d of the run", run.path, trainer.step)
                    return EXIT_TO_BE_CONTINUED if wants_requeue else EXIT_TERMINATED
            metrics = trainer.finish_epoch()
            if recorder:
                recorder.epoch_finished(metrics)
    logger.info("%s: trained %d epochs in %.0f s", run.path, trainer.epoch, metrics.elapsed_s)
    return 0


def _build_trainer(config: TrainConfig, run: RunFolder, device: "torch.device", ranks: Ranks) -> "Trainer":
    """Return the trainer, with the state of the run's snapshot where there is one; claim the folder for it."""
    from recon.checkpoint import load_snapshot
    from recon.first_weights import first_weights
    from recon.loading.staging import run_data
    from recon.trainer import Trainer
    from recon.views import check_view_count, evaluation_order

    data = run_data(Path(config.store), config, config.render_online, ranks)
    check_view_count(config.views, data.num_views)
    split = split_proteins(
        data.protein_ids, data.clusters, config.seed, config.validation_fraction, config.test_fraction
    )
    split = thinned(split, config.train_proteins, config.seed)
    orders = {name: evaluation_order(config.seed, name, data.num_views) for name in data.protein_ids}
    trainer = Trainer(config, data, split, orders, device, ranks)
    if config.start_from:
        trainer.model.load_state_dict(first_weights(RunFolder(Path(config.start_from)), config, split))
    if ranks.is_main:
        num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        run.claim(RunRecord(config, split, num_parameters, str(device), installed_versions(), source_commit()))
        run.keep_view_orders(orders)
    ranks.barrier()
    if run.snapshot_path.exists():
        trainer.restore(load_snapshot(run.snapshot_path))
    return trainer


if __name__ == "__main__":
    sys.exit(main())
