"""
A small 3D U-Net that turns what the views prove about a carved volume into a probability of occupancy.

Carving fills every hollow that no view looks into, and keeps what few views could cut away; the network has seen
which of that is protein. It works in the frame of the first view, where up and down differ and left and right do not.
The U-Net is that of Cicek et al., MICCAI 2016, with two levels below the grid's own.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from recon.carve import MAX_DEPTH_VOXELS, CarvedVolume
from recon.weights_file import load_weights

NUM_CHANNELS = 6
NUM_BOUND_CHANNELS = 3
"""More of them where an upper bound is known beside the heights, as under a blunt tip."""
WIDTHS = (8, 16, 32)
"""Channels at the grid's own resolution, at a half and at a quarter of it."""
REFINED_SIZE = 32
"""Voxels per axis of the volumes that it was trained on: what it knows of depths holds at their scale."""
_MANY_VIEWS = 25


def num_channels(has_tip: bool) -> int:
    """Return how many channels the evidence has."""
    return NUM_CHANNELS + NUM_BOUND_CHANNELS * has_tip


def evidence_channels(carved: CarvedVolume, num_views: int, bound: CarvedVolume | None = None) -> np.ndarray:
    """
    Return what the network reads, float32 `(channel, z, y, x)`.

    Share left, least, second least and mean depth, share of contacts, and the number of views on a scale of roots.

    Parameters
    ----------
    bound
        Carved by upper bounds of the heights, where heights are uncertain: adds its share left, least and mean depth.
    """
    depths = [depth / MAX_DEPTH_VOXELS for depth in (carved.least_depth, carved.second_depth, carved.mean_depth)]
    views = np.full_like(carved.share, np.sqrt(num_views / _MANY_VIEWS))
    channels = [carved.share, *depths, carved.contact_share, views]
    if bound is not None:
        channels += [bound.share, bound.least_depth / MAX_DEPTH_VOXELS, bound.mean_depth / MAX_DEPTH_VOXELS]
    return np.stack(channels).astype(np.float32)


class CarveRefiner(nn.Module):
    """Evidence `(batch, channel, z, y, x)` to logits of occupancy `(batch, z, y, x)`; edges a multiple of 4."""

    def __init__(self, num_channels: int = NUM_CHANNELS) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.num_channels = num_channels
        self.encode_fine = _two_convolutions(num_channels, fine)
        self.encode_middle = _two_convolutions(fine, middle)
        self.encode_coarse = _two_convolutions(middle, coarse)
        self.decode_middle = _two_convolutions(coarse + middle, middle)
        self.decode_fine = _two_convolutions(middle + fine, fine)
        self.head = nn.Conv3d(fine, 1, kernel_size=1)
        self.pool = nn.MaxPool3d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)

    def forward(self, evidence: torch.Tensor) -> torch.Tensor:
        """Return logits; an untrained network stays near what carving says."""
        fine = self.encode_fine(evidence)  # (batch, 8, z, y, x)
        middle = self.encode_middle(self.pool(fine))  # (batch, 16, z / 2, ...)
        coarse = self.encode_coarse(self.pool(middle))  # (batch, 32, z / 4, ...)
        middle = self.decode_middle(torch.cat([self.grow(coarse), middle], dim=1))
        fine = self.decode_fine(torch.cat([self.grow(middle), fine], dim=1))
        carved_logits = 4 * evidence[:, 0] - 2
        return carved_logits + self.head(fine)[:, 0]


def _two_convolutions(num_in: int, num_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (num_in, num_out):
        layers += [nn.Conv3d(channels, num_out, kernel_size=3, padding=1, bias=False), nn.BatchNorm3d(num_out)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def refined_probability(
    model: CarveRefiner, carved: CarvedVolume, num_views: int, bound: CarvedVolume | None = None
) -> np.ndarray:
    """
    Return the probability of occupancy, float32 `(z, y, x)`.

    Raises
    ------
    ValueError
        The network was trained with an upper bound and there is none, or the other way round.
    """
    channels = evidence_channels(carved, num_views, bound)
    check_channels(model, len(channels))
    evidence = torch.from_numpy(channels)[None]
    with torch.inference_mode():
        return torch.sigmoid(model(evidence))[0].numpy()


def check_channels(model: CarveRefiner, num_channels: int) -> None:
    """Raise ValueError if a network was trained on other evidence."""
    if num_channels != model.num_channels:
        raise ValueError(
            f"got {num_channels} channels of evidence for a refiner of {model.num_channels}; name by --refiner "
            "one that was trained with the same tip, or with none where there is none"
        )


def default_refiner_path(has_tip: bool) -> Path:
    """Return where the package's weights lie, under a tip those for 1 nm; a checkout may lack them."""
    name = "carve_refiner_tip_1nm.pt" if has_tip else "carve_refiner.pt"
    return Path(__file__).with_name("weights") / name


def load_refiner(path: Path) -> CarveRefiner:
    """Read weights that `recon.train_carve_refiner` wrote; what is none of them raises ValueError."""
    return load_weights(
        path,
        lambda weights: CarveRefiner(weights["encode_fine.0.weight"].shape[1]),
        "refiner",
        "recon.train_carve_refiner",
    )
