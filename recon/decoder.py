"""Decoder of Pix2Vox++: from the features of one image to a coarse volume of 32^3 voxels."""

from __future__ import annotations

import torch
from torch import nn

SEED_SIZE = 2


def _up_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Double the side of a volume."""
    return nn.Sequential(
        nn.ConvTranspose3d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=False),
        nn.BatchNorm3d(out_channels),
        nn.ReLU(),
    )


class Decoder(nn.Module):
    """Four transposed convolutions from 2^3 to 32^3, and one to a probability.

    Parameters
    ----------
    num_features
        Values per image that the encoder gives; a multiple of 8, as they fill a seed of 2^3 voxels.
    widths
        Output channels of the four transposed convolutions.
    """

    def __init__(self, num_features: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.seed_channels = num_features // SEED_SIZE**3
        self.up1 = _up_block(self.seed_channels, widths[0])
        self.up2 = _up_block(widths[0], widths[1])
        self.up3 = _up_block(widths[1], widths[2])
        self.up4 = _up_block(widths[2], widths[3])
        self.logit = nn.ConvTranspose3d(widths[3], 1, kernel_size=1, bias=False)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode each image by itself.

        Parameters
        ----------
        features
            (image, feature, 7, 7), the encoder's output.

        Returns
        -------
        raw_features, coarse_volumes
            (image, 9, z, y, x): the last map and the coarse volume together, what the merger scores;
            (image, z, y, x): probabilities, float32 also under autocast.
        """
        x = features.reshape(-1, self.seed_channels, SEED_SIZE, SEED_SIZE, SEED_SIZE)  # (image, 1568, 2, 2, 2)
        x = self.up1(x)  # (image, 512, 4, 4, 4)
        x = self.up2(x)  # (image, 128, 8, 8, 8)
        x = self.up3(x)  # (image, 32, 16, 16, 16)
        x = self.up4(x)  # (image, 8, 32, 32, 32)
        # In bfloat16 a probability above 0.998 would be 1, and its logarithm's gradient lost.
        coarse_volumes = torch.sigmoid(self.logit(x).float())  # (image, 1, 32, 32, 32)
        raw_features = torch.cat((x, coarse_volumes.to(x.dtype)), dim=1)  # (image, 9, 32, 32, 32)
        return raw_features, coarse_volumes.squeeze(1)
