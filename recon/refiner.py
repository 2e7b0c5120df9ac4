"""Refiner of Pix2Vox++: a small 3D U-Net that corrects the merged volume of 32^3 voxels (size A only)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_BOTTOM_CHANNELS = 128
_BOTTOM_SIZE = 4
_BOTTOM_FEATURES = _BOTTOM_CHANNELS * _BOTTOM_SIZE**3
_HIDDEN_FEATURES = 2048


def _down_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halve the side of a volume; the even kernel adds one voxel, which the pooling drops."""
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel_size=4, padding=2),
        nn.BatchNorm3d(out_channels),
        nn.LeakyReLU(0.2),
        nn.MaxPool3d(2),
    )


def _up_conv(in_channels: int, out_channels: int) -> nn.ConvTranspose3d:
    """Double the side of a volume."""
    return nn.ConvTranspose3d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=False)


class Refiner(nn.Module):
    """Three levels down, two fully connected layers, three levels up with added shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = _down_block(1, 32)
        self.down2 = _down_block(32, 64)
        self.down3 = _down_block(64, _BOTTOM_CHANNELS)
        self.linear1 = nn.Linear(_BOTTOM_FEATURES, _HIDDEN_FEATURES)
        self.linear2 = nn.Linear(_HIDDEN_FEATURES, _BOTTOM_FEATURES)
        self.up1 = nn.Sequential(_up_conv(_BOTTOM_CHANNELS, 64), nn.BatchNorm3d(64), nn.ReLU())
        self.up2 = nn.Sequential(_up_conv(64, 32), nn.BatchNorm3d(32), nn.ReLU())
        self.logit = _up_conv(32, 1)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Probabilities (batch, z, y, x) of 32^3 voxels -> refined ones of the same shape, float32."""
        side_16 = self.down1(volumes.unsqueeze(1))  # (batch, 32, 16, 16, 16)
        side_8 = self.down2(side_16)  # (batch, 64, 8, 8, 8)
        side_4 = self.down3(side_8)  # (batch, 128, 4, 4, 4)
        x = F.relu(self.linear1(side_4.flatten(1)))  # (batch, 2048)
        x = F.relu(self.linear2(x))  # (batch, 8192)
        x = side_4 + x.view_as(side_4)  # (batch, 128, 4, 4, 4)
        x = side_8 + self.up1(x)  # (batch, 64, 8, 8, 8)
        x = side_16 + self.up2(x)  # (batch, 32, 16, 16, 16)
        correction = torch.sigmoid(self.logit(x).float()).squeeze(1)  # (batch, 32, 32, 32)
        return (volumes + correction) * 0.5
