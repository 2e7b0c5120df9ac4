"""Pix2Vox++ (Xie et al., IJCV 128, 2919, 2020): a volume from any number of unposed images.

Shapes, as the comments at line ends name them (size A; size F has fewer channels)::

    images          (batch, view, channel, row, col)   network input
    features        (batch * view, 256, 7, 7)          encoder: every image by itself
    raw_features    (batch, view, 9, z, y, x)          decoder: last map and coarse volume
    coarse_volumes  (batch, view, z, y, x)             decoder: one probability volume per view
    merged          (batch, z, y, x)                   merger: softmax over views
    refined         (batch, z, y, x)                   refiner (size A): corrected merged volume

The volume has 32 voxels per axis. Layers, sizes and numbers of parameters are the published ones. Deviations:

- All views of all proteins go through each block in one call, so BatchNorm takes its statistics over both.
  The published code runs view after view.
- Images of any size from 32 pixels on (`recon.encoder`); at 224 nothing differs.
- One-channel images change `conv1` alone.
- ImageNet weights are loaded after the initialisation, which else would overwrite them.
- Probabilities, merging and loss are float32 also under autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from recon.decoder import Decoder
from recon.encoder import FEATURE_MAP_SIZE, Encoder
from recon.merger import Merger
from recon.refiner import Refiner
from recon.resnet import Depth


@dataclass(frozen=True)
class Pix2VoxConfig:
    """Which of the published networks to build."""

    size: Literal["A", "F"] = "A"
    """A: accurate, 96.3 M parameters, with refiner. F: fast, 4.8 M, without."""

    in_channels: Literal[1, 3] = 1
    """Channels of an image: 1 for heights, 3 for colour."""

    def __post_init__(self) -> None:
        if self.size not in _LAYERS:
            raise ValueError(f"got network size {self.size!r}, expected one of {', '.join(_LAYERS)}; choose one")
        if self.in_channels not in (1, 3):
            raise ValueError(f"got {self.in_channels} input channels, expected 1 or 3; choose one")


@dataclass(frozen=True)
class _Layers:
    resnet_depth: Depth
    encoder_widths: tuple[int, int, int]
    decoder_widths: tuple[int, int, int, int]
    has_refiner: bool


_LAYERS = {
    "A": _Layers(50, (512, 256, 256), (512, 128, 32, 8), has_refiner=True),
    "F": _Layers(18, (128, 64, 64), (128, 64, 32, 8), has_refiner=False),
}


class Pix2VoxOutput(NamedTuple):
    """Occupancy probabilities in 0..1, float32 (batch, z, y, x)."""

    merged: torch.Tensor
    """Before the refiner."""

    refined: torch.Tensor
    """The result; the same object as `merged` where the network has no refiner."""


class Pix2Vox(nn.Module):
    """Encoder, decoder, merger and, for size A, refiner, with the published initialisation."""

    def __init__(self, config: Pix2VoxConfig) -> None:
        super().__init__()
        layers = _LAYERS[config.size]
        self.config = config
        self.encoder = Encoder(layers.resnet_depth, layers.encoder_widths, config.in_channels)
        self.decoder = Decoder(layers.encoder_widths[-1] * FEATURE_MAP_SIZE**2, layers.decoder_widths)
        self.merger = Merger()
        self.refiner = Refiner() if layers.has_refiner else None
        self.apply(_init_weights)

    def forward(self, images: torch.Tensor, is_single_view: bool = False) -> Pix2VoxOutput:
        """Reconstruct each protein of a batch from its views.

        Parameters
        ----------
        images
            (batch, view, channel, row, col), float; the number of views may differ from call to call.
        is_single_view
            Decode the first view only, without merger and refiner; the two outputs are then the same.

        Raises
        ------
        ValueError
            If the shape is another one.
        """
        if images.ndim != 5 or images.shape[2] != self.config.in_channels or 0 in images.shape[1:]:
            raise ValueError(
                f"got images of shape {tuple(images.shape)}, expected (batch, view, "
                f"{self.config.in_channels}, row, col) with at least one view; reshape them"
            )
        if is_single_view:
            _, coarse_volumes = self.decoder(self.encoder(images[:, 0]))
            return Pix2VoxOutput(coarse_volumes, coarse_volumes)  # (batch, z, y, x)
        batch_and_view = images.shape[:2]
        features = self.encoder(images.flatten(0, 1))  # (batch * view, 256, 7, 7)
        raw_features, coarse_volumes = self.decoder(features)  # (batch * view, 9, z, y, x), (batch * view, z, y, x)
        merged = self.merger(
            raw_features.unflatten(0, batch_and_view),  # (batch, view, 9, z, y, x)
            coarse_volumes.unflatten(0, batch_and_view),  # (batch, view, z, y, x)
        )  # (batch, z, y, x)
        refined = merged if self.refiner is None else self.refiner(merged)  # (batch, z, y, x)
        return Pix2VoxOutput(merged, refined)

    def load_imagenet_weights(self, path: Path) -> None:
        """Start the encoder's trunk from a torchvision ResNet file: `ResNetTrunk.load_imagenet_weights`."""
        self.encoder.trunk.load_imagenet_weights(path)


def _init_weights(module: nn.Module) -> None:
    """Kaiming for convolutions, N(0, 0.01) for linear layers; BatchNorm keeps torch's 1 and 0."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
