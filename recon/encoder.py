"""Encoder of Pix2Vox++: from one image to a 7x7 map of features.

One deviation from the published network: images of other sizes than 224 are accepted, since a pooling without
parameters brings every map to 7x7. At 224 it is the identity.
"""

from __future__ import annotations

import torch
from torch import nn

from recon.resnet import Depth, ResNetTrunk

FEATURE_MAP_SIZE = 7
# The trunk divides the side by 8 and the two poolings by 2 each: below this nothing is left.
MIN_IMAGE_SIZE = 32


def _conv_block(in_channels: int, out_channels: int, *, has_pool: bool) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.MaxPool2d(2)) if has_pool else nn.Sequential(*layers)


class Encoder(nn.Module):
    """ResNet trunk and three 3x3 convolutions, the last two with max pooling.

    Parameters
    ----------
    resnet_depth
        Depth of the ResNet that gives the trunk: 50 for size A, 18 for size F.
    widths
        Output channels of the three convolutions.
    in_channels
        Channels of an image.
    """

    def __init__(self, resnet_depth: Depth, widths: tuple[int, int, int], in_channels: int) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(resnet_depth, in_channels)
        self.conv1 = _conv_block(self.trunk.out_channels, widths[0], has_pool=False)
        self.conv2 = _conv_block(widths[0], widths[1], has_pool=True)
        self.conv3 = _conv_block(widths[1], widths[2], has_pool=True)
        self.pool = nn.AdaptiveAvgPool2d(FEATURE_MAP_SIZE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, channel, row, col) -> features (image, feature, 7, 7).

        Raises
        ------
        ValueError
            If an image has fewer than 32 rows or columns.
        """
        if min(images.shape[-2:]) < MIN_IMAGE_SIZE:
            raise ValueError(
                f"got images of {images.shape[-2]} x {images.shape[-1]} pixels, expected at least "
                f"{MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE}; enlarge them"
            )
        x = self.trunk(images)  # (image, 512, 28, 28) for size A at 224 pixels
        x = self.conv1(x)  # (image, 512, 28, 28)
        x = self.conv2(x)  # (image, 256, 14, 14)
        x = self.conv3(x)  # (image, 256, 7, 7)
        return self.pool(x)  # (image, 256, 7, 7) for every image size
