"""
A small 2D U-Net that tells from images under a blunt tip where the body ends and how high it is.

Erosion by the tip bounds the surface from above, but is wide where the tip left flanks and feet around a body. The
network has seen where bodies end below them. It works in nm, since a tip has a size. The U-Net is that of Ronneberger
et al., MICCAI 2015, with two levels below half of the image's size.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from recon.weights_file import load_weights

WIDTHS = (20, 40, 64)
"""Channels at a half, a quarter and an eighth of the image's size."""
HEIGHT_UNIT_NM, PIXEL_UNIT_NM = 4.0, 0.1
"""What the network reads as one."""
OPEN_ABOVE_NM = 0.1
"""Where the upper bound is no higher, there is no body, and the network is not asked."""
_PACKED = 4
"""Pixels that are packed into the channels of one: two by two."""
_SIZE_UNIT_PX = 8
_BATCH_SIZE = 16


class ScanRestorer(nn.Module):
    """Images and upper bounds `(batch, row, col)` in nm to logits of body and heights; edges a multiple of 8."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.encode_fine = _two_convolutions(2 * _PACKED + 1, fine)
        self.encode_middle = _two_convolutions(fine, middle)
        self.encode_coarse = _two_convolutions(middle, coarse)
        self.decode_middle = _two_convolutions(coarse + middle, middle)
        self.decode_fine = _two_convolutions(middle + fine, fine)
        self.head = nn.Conv2d(fine, 2 * _PACKED, kernel_size=1)
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.pack, self.unpack = nn.PixelUnshuffle(2), nn.PixelShuffle(2)

    def forward(
        self, image_nm: torch.Tensor, upper_nm: torch.Tensor, pixel_size_nm: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits of body and heights in nm `(batch, row, col)`; the pixel size is `(batch,)`."""
        packed = self.pack(torch.stack([image_nm, upper_nm], dim=1) / HEIGHT_UNIT_NM)  # (batch, 8, row / 2, col / 2)
        pixel = (pixel_size_nm / PIXEL_UNIT_NM)[:, None, None, None].expand(-1, 1, *packed.shape[2:])
        fine = self.encode_fine(torch.cat([packed, pixel], dim=1))
        middle = self.encode_middle(self.pool(fine))  # (batch, 40, row / 4, ...)
        coarse = self.encode_coarse(self.pool(middle))  # (batch, 64, row / 8, ...)
        middle = self.decode_middle(torch.cat([self.grow(coarse), middle], dim=1))
        fine = self.decode_fine(torch.cat([self.grow(middle), fine], dim=1))
        body, change = self.unpack(self.head(fine)).unbind(dim=1)  # (batch, row, col)
        return body, upper_nm + change


def _two_convolutions(num_in: int, num_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (num_in, num_out):
        layers += [nn.Conv2d(channels, num_out, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(num_out)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def restored_heights(
    model: ScanRestorer, image_nm: np.ndarray, upper_nm: np.ndarray, pixel_size_nm: float, least_probability: float
) -> np.ndarray:
    """
    Return the heights that the network believes, never above the upper bound and 0 where it believes in no body.

    Parameters
    ----------
    image_nm, upper_nm
        float32 `(view, row, col)` in nm.
    least_probability
        What is body with less than this probability is substrate.
    """
    size = image_nm.shape[-1]
    padding = [(0, 0)] + [(0, -size % _SIZE_UNIT_PX)] * 2
    image, upper = (torch.from_numpy(np.pad(part, padding)) for part in (image_nm, upper_nm))
    restored = []
    with torch.inference_mode():
        for image_part, upper_part in zip(*(torch.split(part, _BATCH_SIZE) for part in (image, upper)), strict=True):
            body, height = model(image_part, upper_part, torch.full((len(image_part),), pixel_size_nm))
            is_body = (torch.sigmoid(body) >= least_probability) & (upper_part > OPEN_ABOVE_NM)
            is_body |= ~is_body.any(dim=(1, 2), keepdim=True)  # a view without any body keeps its upper bound
            restored.append(torch.where(is_body, torch.minimum(height, upper_part).clamp(min=0), 0))
    return torch.cat(restored).numpy()[:, :size, :size]


def default_restorer_path() -> Path:
    """Return the weights of the package: 1 nm, a half angle of 10 degrees and noise of 0.3 nm per pixel of 224."""
    return Path(__file__).with_name("weights") / "scan_restorer_tip_1nm.pt"


def load_restorer(path: Path) -> ScanRestorer:
    """Read weights that `recon.train_scan_restorer` wrote; what is none of them raises ValueError."""
    return load_weights(path, lambda _: ScanRestorer(), "restorer", "recon.train_scan_restorer")
