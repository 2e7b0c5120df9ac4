"""Multi-scale context-aware fusion of Pix2Vox++: each voxel is a weighted mean over the views.

One deviation from the published code, which scores view after view: here all views of all proteins are scored
in one call, so BatchNorm sees them together and a forward pass updates its running statistics once.
"""

from __future__ import annotations

import torch
from torch import nn

RAW_CHANNELS = 9
_NUM_SCALES = 4


def _conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.BatchNorm3d(out_channels),
        nn.LeakyReLU(0.2),
    )


class Merger(nn.Module):
    """Scores of every voxel of every view, softmax over the views, weighted sum of the coarse volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_conv_block(RAW_CHANNELS, RAW_CHANNELS) for _ in range(_NUM_SCALES))
        self.fuse = _conv_block(_NUM_SCALES * RAW_CHANNELS, RAW_CHANNELS)
        self.score = _conv_block(RAW_CHANNELS, 1)

    def forward(self, raw_features: torch.Tensor, coarse_volumes: torch.Tensor) -> torch.Tensor:
        """Merge any number of views; their order does not matter, and one view is returned as it came.

        Parameters
        ----------
        raw_features
            (batch, view, 9, z, y, x).
        coarse_volumes
            Probabilities (batch, view, z, y, x), float32.

        Returns
        -------
        torch.Tensor
            Merged probabilities (batch, z, y, x), float32.
        """
        x = raw_features.flatten(0, 1)  # (batch * view, 9, z, y, x)
        scales = []
        for conv in self.scales:
            x = conv(x)  # (batch * view, 9, z, y, x)
            scales.append(x)
        x = self.fuse(torch.cat(scales, dim=1))  # (batch * view, 9, z, y, x)
        scores = self.score(x).float().view_as(coarse_volumes)  # (batch, view, z, y, x)
        weights = torch.softmax(scores, dim=1)  # (batch, view, z, y, x)
        merged = (weights * coarse_volumes).sum(dim=1)  # (batch, z, y, x)
        return merged.clamp(0.0, 1.0)  # rounding can lift a sum of weights above 1
