"""Training loss of Pix2Vox++: binary cross-entropy of the merged and of the refined volume, added.

The published code multiplies both terms by 10 and runs one backward pass for each. Here the factor is left
out, on which Adam's step hardly depends, and one scalar is returned, so one backward pass does both.
"""

from __future__ import annotations

import torch

from recon.pix2vox import Pix2VoxOutput


def loss(output: Pix2VoxOutput, occupancy: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy per voxel, in nats, in float32 also under autocast.

    Parameters
    ----------
    output
        Probabilities (batch, z, y, x); without a refiner (`refined is merged`) there is one term.
    occupancy
        (batch, z, y, x), 0 or 1, of any dtype.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if occupancy.shape != output.merged.shape:
        raise ValueError(
            f"got occupancy of shape {tuple(occupancy.shape)}, expected {tuple(output.merged.shape)} like "
            "the network's output; build both with the same target size and batch"
        )
    is_occupied = occupancy.bool()
    with torch.autocast(device_type=occupancy.device.type, enabled=False):
        total = _cross_entropy(output.merged.float(), is_occupied)
        if output.refined is not output.merged:
            total = total + _cross_entropy(output.refined.float(), is_occupied)
    return total


def _cross_entropy(probability: torch.Tensor, is_occupied: torch.Tensor) -> torch.Tensor:
    # torch's binary_cross_entropy ends a CUDA process at the first NaN; this one hands the NaN to the caller.
    likelihood = torch.where(is_occupied, probability, 1 - probability)  # (batch, z, y, x)
    return -likelihood.clamp(min=torch.finfo(likelihood.dtype).tiny).log().mean()
