"""Predicted bodies of many proteins, from the fixed views by which they are scored."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from recon.pix2vox import Pix2Vox
from recon.training_data import ProteinData, stack_samples
from recon.views import evaluation_views


class PredictedBatch(NamedTuple):
    """Predictions of a few proteins."""

    proteins: list[int]
    """Indices into the data, `(batch,)`."""
    merged: torch.Tensor
    """float32 `(batch, z, y, x)`: probability before the refiner."""
    refined: torch.Tensor
    """float32 `(batch, z, y, x)`: the result."""
    occupancy: torch.Tensor
    """uint8 `(batch, z, y, x)`: the truth."""


def predict(
    model: Pix2Vox, data: ProteinData, proteins: Sequence[int], num_views: int, seed: int, batch_size: int
) -> Iterator[PredictedBatch]:
    """Yield predictions for `proteins` (indices into `data`), in order, on the model's device."""
    model.eval()
    device = next(model.parameters()).device
    for start in range(0, len(proteins), batch_size):
        batch = list(proteins[start : start + batch_size])
        views = {
            protein: evaluation_views(seed, data.protein_ids[protein], data.num_views, num_views) for protein in batch
        }
        sample = stack_samples(data, views)
        with torch.inference_mode():
            output = model(sample.images.to(device))
        yield PredictedBatch(batch, output.merged, output.refined, sample.occupancy.to(device))


def predicted_probability(batch: PredictedBatch) -> np.ndarray:
    """Return float32 `(batch, z, y, x)` in host memory."""
    return batch.refined.cpu().numpy()
