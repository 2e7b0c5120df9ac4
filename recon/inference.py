"""Predicted bodies of many proteins, from the fixed views by which they are scored."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from recon.pix2vox import Pix2Vox
from recon.training_data import ProteinData, Sample, stack_samples
from recon.views import evaluation_views


def evaluation_batches(
    data: ProteinData, proteins: Sequence[int], num_views: int, seed: int, batch_size: int
) -> Iterator[Sample]:
    """Yield `proteins` (indices into `data`) in order, each seen through its fixed views."""
    for start in range(0, len(proteins), batch_size):
        views = {
            protein: evaluation_views(seed, data.protein_ids[protein], data.num_views, num_views)
            for protein in proteins[start : start + batch_size]
        }
        yield stack_samples(data, views)


def predict(
    model: Pix2Vox, data: ProteinData, proteins: Sequence[int], num_views: int, seed: int, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield batches of `proteins` with their occupancy probability, float32 `(batch, z, y, x)` in 0..1."""
    model.eval()
    device = next(model.parameters()).device
    for batch in evaluation_batches(data, proteins, num_views, seed, batch_size):
        with torch.inference_mode():
            output = model(batch.images.to(device))
        yield batch.protein.tolist(), output.refined.cpu().numpy()
