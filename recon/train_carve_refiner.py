"""
Train the network that refines carved volumes, on the training proteins of a dataset.

The proteins are split by cluster as recon.train splits them; validation proteins decide nothing, their IoU is
printed after each epoch. Poses are the true ones, which registration finds to a fraction of a degree on clean height
maps, and for some samples wrong by up to a degree. With --tip-radius-nm, views are scanned by a blunt tip and restored
(recon.poses.scan_restorer), and poses are those that registration finds. It then learns from every other training
protein only, those that the restorer has not learned from.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from recon.poses.scan_options import add_scan_options, scan_conditions
from recon.small_network_training import add_training_options, evenly_thinned, split_indices, train_one_cycle

if TYPE_CHECKING:
    import torch

    from recon.shapes.carve_refiner import CarveRefiner

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.train_carve_refiner`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.train_carve_refiner",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_training_options(parser, "samples", epochs=12, max_proteins=400, learning_rate=3e-3)
    parser.add_argument(
        "--samples-per-protein", type=int, default=6, help="carved volumes per protein (default: %(default)s)"
    )
    add_scan_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        train(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"recon.train_carve_refiner: {error}\n")
        return 2
    return 0


def train(arguments: argparse.Namespace) -> None:
    """Make the samples, train, write the weights after each epoch."""
    import numpy as np
    import torch

    from afmsim.dataset import open_dataset
    from recon.shapes.carve_refiner import CarveRefiner
    from recon.shapes.carve_samples import batches, make_samples
    from recon.weights_file import save_weights

    dataset = open_dataset(arguments.store)
    conditions = scan_conditions(
        arguments.noise_sigma_nm, arguments.tip_radius_nm, arguments.tip_half_angle_deg, arguments.restorer
    )
    training, validation = split_indices(dataset, arguments)
    if conditions.tip is not None:
        if len(training) < 2:
            raise ValueError(
                "got one training protein, expected two: the restorer and the refiner learn from different ones"
            )
        training = training[1::2]
    training = evenly_thinned(training, arguments.max_proteins)
    validation = evenly_thinned(validation, arguments.max_proteins // 8)
    samples = make_samples(dataset, training, arguments.samples_per_protein, arguments.seed, conditions)
    held_out = make_samples(dataset, validation, 2, arguments.seed, conditions)
    logger.info("%d samples of %d proteins, %d of %d validate", len(samples[0]), len(training), *_sizes(held_out, 2))
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    # Convolutions of few channels are nearly twice as fast on CPUs with the channels innermost.
    layout = torch.channels_last_3d
    model: CarveRefiner = CarveRefiner(samples[0].shape[1]).to(memory_format=layout)  # type: ignore[call-overload]

    def loss_of(batch: "tuple[torch.Tensor, torch.Tensor]") -> "torch.Tensor":
        evidence, occupancy = batch
        return refiner_loss(model(evidence.contiguous(memory_format=layout)), occupancy)

    losses = train_one_cycle(
        model, arguments, len(samples[0]), lambda: batches(*samples, arguments.batch_size, rng), loss_of
    )
    for epoch, loss in enumerate(losses, start=1):
        iou, carved_iou = _validation_iou(model, held_out)
        logger.info("epoch %d: loss %.4f, validation IoU %.4f (carved %.4f)", epoch, loss, iou, carved_iou)
        save_weights(model, arguments.out)


def refiner_loss(logits: "torch.Tensor", occupancy: "torch.Tensor") -> "torch.Tensor":
    """Return cross entropy plus one minus the soft IoU, both averaged over the batch."""
    import torch

    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, occupancy)
    probability = torch.sigmoid(logits)
    intersection = (probability * occupancy).sum(dim=(1, 2, 3))
    union = (probability + occupancy - probability * occupancy).sum(dim=(1, 2, 3))
    return cross_entropy + (1 - intersection / union.clamp(min=1)).mean()


def _sizes(samples: "tuple[torch.Tensor, torch.Tensor]", repeats: int) -> tuple[int, int]:
    return len(samples[0]), len(samples[0]) // repeats


def _validation_iou(model: "CarveRefiner", samples: "tuple[torch.Tensor, torch.Tensor]") -> tuple[float, float]:
    """Return the mean IoU of refined and of carved volumes."""
    import numpy as np
    import torch

    from recon.metrics import iou_per_protein

    evidence, occupancy = samples
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(part.float()) for part in torch.split(evidence, 16)])
    refined = iou_per_protein(logits.sigmoid().numpy(), occupancy.numpy(), 0.5)
    carved = iou_per_protein(evidence[:, 0].float().numpy(), occupancy.numpy(), 0.5)
    return float(np.mean(refined)), float(np.mean(carved))


if __name__ == "__main__":
    sys.exit(main())
