"""Predicted bodies of many proteins, from the fixed views by which they are scored."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from recon.distributed import Ranks
from recon.loading.samples import Sample, SampleMaker
from recon.pix2vox import Pix2Vox
from recon.precision import autocast_for

ViewOrders = Mapping[str, np.ndarray]
"""By protein id, int64 `(view,)`: the order in which its views are taken, from `recon.views.evaluation_order`."""


def evaluation_batches(
    maker: SampleMaker,
    orders: ViewOrders,
    proteins: Sequence[int],
    num_views: int,
    batch_size: int,
    device: torch.device,
    ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
) -> Iterator[Sample]:
    """
    Yield this rank's batches of `proteins` (indices into the data), each seen through the first views of its order.

    Ranks take turns by whole batches: so each protein has one owner, and its batch, hence its prediction, does not
    depend on the number of ranks.
    """
    for start in range(ranks.rank * batch_size, len(proteins), ranks.size * batch_size):
        readings = [
            maker.read(protein, orders[maker.data.protein_ids[protein]][:num_views])
            for protein in proteins[start : start + batch_size]
        ]
        yield maker.finish(maker.stack(readings, num_views), device)


def predict(
    model: Pix2Vox,
    maker: SampleMaker,
    orders: ViewOrders,
    proteins: Sequence[int],
    num_views: int,
    batch_size: int,
    precision: str = "auto",
    ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
) -> Iterator[tuple[Sample, np.ndarray]]:
    """
    Yield this rank's batches of `proteins` with their occupancy probability, float32 `(batch, z, y, x)` in 0..1.

    `precision` is that of `recon.precision`.
    """
    model.eval()
    device = next(model.parameters()).device
    for batch in evaluation_batches(maker, orders, proteins, num_views, batch_size, device, ranks):
        with torch.inference_mode(), autocast_for(precision, device):
            output = model(batch.images)
        yield batch, output.refined.cpu().numpy()
