"""Predicted bodies of many proteins, from the fixed views by which they are scored."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from recon.pix2vox import Pix2Vox
from recon.training_data import ProteinData, Sample, stack_samples

ViewOrders = Mapping[str, np.ndarray]
"""By protein id, int64 `(view,)`: the order in which its views are taken, from `recon.views.evaluation_order`."""


def evaluation_batches(
    data: ProteinData, orders: ViewOrders, proteins: Sequence[int], num_views: int, batch_size: int
) -> Iterator[Sample]:
    """Yield `proteins` (indices into `data`) in order, each seen through the first `num_views` of its fixed order."""
    for start in range(0, len(proteins), batch_size):
        views = {
            protein: orders[data.protein_ids[protein]][:num_views] for protein in proteins[start : start + batch_size]
        }
        yield stack_samples(data, views)


def predict(
    model: Pix2Vox, data: ProteinData, orders: ViewOrders, proteins: Sequence[int], num_views: int, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield batches of `proteins` with their occupancy probability, float32 `(batch, z, y, x)` in 0..1."""
    model.eval()
    device = next(model.parameters()).device
    for batch in evaluation_batches(data, orders, proteins, num_views, batch_size):
        with torch.inference_mode():
            output = model(batch.images.to(device))
        yield batch.protein.tolist(), output.refined.cpu().numpy()
