"""
Train the network that restores height maps from images under a blunt tip, on the training proteins of a dataset.

Images are made from the dataset's height maps: scanned by the tip, with noise. The proteins are split by cluster as
recon.train splits them; validation proteins decide nothing, how well they are restored is printed after each epoch.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from recon.poses.scan_options import add_scan_options
from recon.small_network_training import add_training_options, evenly_thinned, split_indices, train_one_cycle

if TYPE_CHECKING:
    import numpy as np
    import torch

    from afmsim.dataset import Dataset
    from recon.poses.scan_cleaning import ScanConditions
    from recon.poses.scan_restorer import ScanRestorer

logger = logging.getLogger(__name__)

HEIGHT_TOLERANCE_NM = 0.1
"""Height errors count squared below this, and linearly above."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.train_scan_restorer`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.train_scan_restorer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_training_options(parser, "images", epochs=10, max_proteins=330, learning_rate=4e-3)
    parser.add_argument(
        "--views-per-protein", type=int, default=8, help="images of each protein (default: %(default)s)"
    )
    add_scan_options(parser, has_restorer=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        train(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"recon.train_scan_restorer: {error}\n")
        return 2
    return 0


def train(arguments: argparse.Namespace) -> None:
    """Make the images, train, write the weights after each epoch."""
    import numpy as np
    import torch

    from afmsim.dataset import open_dataset
    from afmsim.tip import Tip
    from recon.poses.scan_cleaning import ScanConditions
    from recon.poses.scan_restorer import ScanRestorer
    from recon.weights_file import save_weights

    dataset = open_dataset(arguments.store)
    if arguments.tip_radius_nm is None:
        raise ValueError("got no tip whose images are to be restored; name one by --tip-radius-nm")
    tip = Tip(arguments.tip_radius_nm, arguments.tip_half_angle_deg)
    conditions = ScanConditions(arguments.noise_sigma_nm, tip)
    training, validation = split_indices(dataset, arguments)
    training = evenly_thinned(training[::2], arguments.max_proteins)  # the others are left for the refiner
    validation = evenly_thinned(validation, arguments.max_proteins // 8)
    images = make_images(dataset, training, arguments.views_per_protein, arguments.seed, conditions)
    held_out = make_images(dataset, validation, arguments.views_per_protein // 2, arguments.seed, conditions)
    logger.info("%d images of %d proteins, %d validate", len(images[0]), len(training), len(held_out[0]))
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    model = ScanRestorer()

    def loss_of(batch: "tuple[torch.Tensor, ...]") -> "torch.Tensor":
        return restorer_loss(model, *batch)

    losses = train_one_cycle(
        model, arguments, len(images[0]), lambda: turned_batches(images, arguments.batch_size, rng), loss_of
    )
    for epoch, loss in enumerate(losses, start=1):
        logger.info("epoch %d: loss %.4f, validation: outline IoU %.4f", epoch, loss, _outline_iou(model, held_out))
        save_weights(model, arguments.out)


def make_images(
    dataset: "Dataset", proteins: Sequence[int], num_views: int, seed: int, conditions: "ScanConditions"
) -> "tuple[torch.Tensor, ...]":
    """
    Scan some views of each protein at half the resolution.

    Returns
    -------
    image_nm, upper_nm, height_nm, pixel_size_nm
        float16 `(image, row, col)` three times, and float32 `(image,)`.
    """
    import numpy as np
    import torch

    from recon.poses.scan_cleaning import averaged_body, quick_images, required_tip
    from recon.poses.tip_erosion import tip_images

    parts = []
    for protein in proteins:
        views = np.random.default_rng([seed, protein]).permutation(dataset.num_views)[:num_views]
        heights_nm, pixel_size_nm = dataset.heights_nm(protein, views), float(dataset.pixel_size_nm[protein])
        scanned = quick_images(heights_nm, pixel_size_nm, conditions, protein)
        images = tip_images(*scanned, required_tip(conditions), conditions.noise_sigma_nm > 0)
        truth_nm, _ = averaged_body(heights_nm)
        sizes_nm = np.full(len(views), images.pixel_size_nm, dtype=np.float32)
        parts.append([part.astype(np.float16) for part in (images.image_nm, images.upper_nm, truth_nm)] + [sizes_nm])
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))


def turned_batches(
    images: "tuple[torch.Tensor, ...]", batch_size: int, rng: "np.random.Generator"
) -> "Iterator[tuple[torch.Tensor, ...]]":
    """Yield all images once in random order, each batch turned and mirrored at random."""
    import torch

    order = rng.permutation(len(images[0]))
    for start in range(0, len(order), batch_size):
        chosen = torch.from_numpy(order[start : start + batch_size])
        *maps, pixel_size_nm = (part[chosen].float() for part in images)
        yield *_turned(maps, int(rng.integers(8))), pixel_size_nm


def restorer_loss(
    model: "ScanRestorer",
    image_nm: "torch.Tensor",
    upper_nm: "torch.Tensor",
    height_nm: "torch.Tensor",
    pixel_size_nm: "torch.Tensor",
) -> "torch.Tensor":
    """Return cross entropy of body and substrate where the bound leaves it open, plus the error of body heights."""
    from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

    from recon.poses.scan_restorer import OPEN_ABOVE_NM

    body, restored_nm = model(image_nm, upper_nm, pixel_size_nm)
    is_body, is_open = (height_nm > 0).float(), (upper_nm > OPEN_ABOVE_NM).float()
    entropy = binary_cross_entropy_with_logits(body, is_body, reduction="none") * is_open
    error = smooth_l1_loss(restored_nm, height_nm, reduction="none", beta=HEIGHT_TOLERANCE_NM) * is_body
    return entropy.sum() / is_open.sum().clamp(min=1) + error.sum() / is_body.sum().clamp(min=1)


def _turned(maps: "list[torch.Tensor]", turn: int) -> "list[torch.Tensor]":
    """Turn maps by one of the four quarters and mirror them in every other case: a tip knows no left and right."""
    import torch

    turned = [torch.rot90(part, turn % 4, dims=(-2, -1)) for part in maps]
    return [part.flip(-1) for part in turned] if turn >= 4 else turned


def _outline_iou(model: "ScanRestorer", images: "tuple[torch.Tensor, ...]") -> float:
    """Return the mean IoU of what is taken for body and what is body in images."""
    import torch

    from recon.poses.scan_restorer import OPEN_ABOVE_NM

    model.eval()
    scores = []
    with torch.inference_mode():
        for image_nm, upper_nm, height_nm, pixel_size_nm in zip(
            *(torch.split(part, 16) for part in images), strict=True
        ):
            body, _ = model(image_nm.float(), upper_nm.float(), pixel_size_nm)
            found, true = (body > 0) & (upper_nm > OPEN_ABOVE_NM), height_nm > 0
            scores.append((found & true).sum(dim=(1, 2)) / (found | true).sum(dim=(1, 2)).clamp(min=1))
    return float(torch.cat(scores).mean())


if __name__ == "__main__":
    sys.exit(main())
