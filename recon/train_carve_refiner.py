"""
Train the network that refines carved volumes, on the training proteins of a dataset.

The proteins are split by cluster as recon.train splits them; validation proteins decide nothing, their IoU is
printed after each epoch. Poses are the true ones, which registration finds to a fraction of a degree on clean height
maps, and for some samples wrong by up to a degree. With --tip-radius-nm, views are scanned by a blunt tip and restored
(recon.poses.scan_restorer), and all poses are wrong, as those are that registration finds under a tip. It then learns
from every other training protein only, those that the restorer has not learned from.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from recon.poses.scan_options import add_scan_options, scan_conditions

if TYPE_CHECKING:
    import torch

    from afmsim.dataset import Dataset
    from recon.shapes.carve_refiner import CarveRefiner

logger = logging.getLogger(__name__)

MAX_RELATIVES = 8
"""Training proteins of one family, so that a large family does not outvote all others."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.train_carve_refiner`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.train_carve_refiner",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--store", type=Path, required=True, help="dataset of afmsim.build")
    add("--out", type=Path, required=True, help="file that the weights are written to")
    add("--epochs", type=int, default=12, help="passes over all samples (default: %(default)s)")
    add("--samples-per-protein", type=int, default=6, help="carved volumes per protein (default: %(default)s)")
    add("--max-proteins", type=int, default=400, help="training proteins, taken evenly (default: %(default)s)")
    add("--batch-size", type=int, default=8, help="samples per step (default: %(default)s)")
    add("--learning-rate", type=float, default=3e-3, help="highest rate of one cycle (default: %(default)s)")
    add("--validation-fraction", type=float, default=0.2, help="share that validates (default: %(default)s)")
    add("--test-fraction", type=float, default=0.1, help="share that is left out (default: %(default)s)")
    add_scan_options(parser)
    add("--seed", type=int, default=0, help="seed of the split, the samples and the weights (default: %(default)s)")
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
    from recon.shapes.carve_refiner import CarveRefiner, save_refiner
    from recon.shapes.carve_samples import batches, make_samples

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
    training = thinned(training, arguments.max_proteins)
    validation = thinned(validation, arguments.max_proteins // 8)
    samples = make_samples(dataset, training, arguments.samples_per_protein, arguments.seed, conditions)
    held_out = make_samples(dataset, validation, 2, arguments.seed, conditions)
    logger.info("%d samples of %d proteins, %d of %d validate", len(samples[0]), len(training), *_sizes(held_out, 2))
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    model = CarveRefiner(samples[0].shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    num_batches = -(-len(samples[0]) // arguments.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, total_steps=arguments.epochs * num_batches
    )
    for epoch in range(arguments.epochs):
        loss = 0.0
        model.train()
        for evidence, occupancy in batches(*samples, arguments.batch_size, rng):
            optimizer.zero_grad()
            batch_loss = refiner_loss(model(evidence), occupancy)
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss += batch_loss.item() / num_batches
        iou, carved_iou = _validation_iou(model, held_out)
        logger.info("epoch %d: loss %.4f, validation IoU %.4f (carved %.4f)", epoch + 1, loss, iou, carved_iou)
        save_refiner(model, arguments.out)


def refiner_loss(logits: "torch.Tensor", occupancy: "torch.Tensor") -> "torch.Tensor":
    """Return cross entropy plus one minus the soft IoU, both averaged over the batch."""
    import torch

    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, occupancy)
    probability = torch.sigmoid(logits)
    intersection = (probability * occupancy).sum(dim=(1, 2, 3))
    union = (probability + occupancy - probability * occupancy).sum(dim=(1, 2, 3))
    return cross_entropy + (1 - intersection / union.clamp(min=1)).mean()


def split_indices(dataset: "Dataset", arguments: argparse.Namespace) -> tuple[list[int], list[int]]:
    """Return the indices of training proteins, at most `MAX_RELATIVES` of a family, and of validation proteins."""
    from recon.split import split_proteins

    done = [int(index) for index in dataset.done_indices]
    ids = [dataset.protein_ids[index] for index in done]
    clusters = [dataset.table[index]["cluster"] for index in done]
    split = split_proteins(ids, clusters, arguments.seed, arguments.validation_fraction, arguments.test_fraction)
    position = dict(zip(ids, done, strict=True))
    family = dict(zip(ids, clusters, strict=True))
    num_taken: Counter[str] = Counter()
    training = []
    for name in split.train:
        num_taken[family[name] or name] += 1
        if num_taken[family[name] or name] <= MAX_RELATIVES:
            training.append(position[name])
    return training, [position[name] for name in split.validation]


def thinned(indices: list[int], most: int) -> list[int]:
    """Return at most so many of the indices, evenly spread."""
    return indices[:: -(-len(indices) // most)] if indices else []


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
