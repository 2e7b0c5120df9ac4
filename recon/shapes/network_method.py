"""The methods paper and view: a trained Pix2Vox++, in the axes of the structure file or of the first view."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from recon.loading.training_data import area_weights
from recon.pix2vox import Pix2Vox
from recon.precision import autocast_for
from recon.shapes.seen_protein import SeenProtein
from recon.shapes.shape_method import ShapeAnswer


@dataclass(frozen=True)
class TrainedNetwork:
    """One run, ready to answer."""

    model: Pix2Vox
    """in evaluation mode, on its device"""
    input_size: int
    precision: str
    """as in `recon.precision`"""
    thresholds: Mapping[int, float]
    """by number of views, chosen on the run's training proteins"""
    is_single_view: bool = False
    """it has learned from single views only, and is shown no more than the first one"""


@dataclass(frozen=True)
class NetworkMethod:
    """For each number of views, one trained run."""

    name: str
    frame: str
    networks: Mapping[int, TrainedNetwork]
    """by number of views"""
    identity: str

    def predict(self, seen: SeenProtein, num_views: int) -> ShapeAnswer:
        """Answer from the first views, as images in which heights are shares of the field of view."""
        network = self.networks[num_views]
        started = time.perf_counter()
        images = network_images(seen, 1 if network.is_single_view else num_views, network.input_size)
        device = next(network.model.parameters()).device
        with torch.inference_mode(), autocast_for(network.precision, device):
            output = network.model(torch.from_numpy(images)[None, :, None].to(device))  # (1, view, 1, row, col)
        probability = output.refined[0].float().cpu().numpy()
        elapsed_s = time.perf_counter() - started
        return ShapeAnswer(probability, self.frame, network.thresholds[num_views], elapsed_s)


def network_images(seen: SeenProtein, num_views: int, input_size: int) -> np.ndarray:
    """Return the first views as `recon.loading.training_data.ProteinData` makes images, float32 `(view, row, col)`."""
    heights_nm = seen.heights_nm[:num_views]
    image_size = heights_nm.shape[-1]
    weights = area_weights(image_size, input_size)
    images = (heights_nm / np.float32(seen.pixel_size_nm * image_size)).astype(np.float32)
    return (weights @ images @ weights.T).astype(np.float16).astype(np.float32)
