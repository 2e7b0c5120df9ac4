"""The first half of a ResNet: `conv1, bn1, relu, maxpool, layer1, layer2` (He et al., CVPR 2016).

Written out here because it is all that Pix2Vox++ uses of torchvision. Parameters carry torchvision's names,
so its ImageNet files load unchanged; what those files hold of later layers is ignored. As in torchvision, a
bottleneck halves the image in its 3x3 convolution ("ResNet v1.5"), not in its first 1x1 as in the paper.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Depth = Literal[18, 50]

_IGNORED_PREFIXES = ("layer3.", "layer4.", "fc.")


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Projection of the shortcut, where the block changes the shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(in_channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(image, channel, row, col) -> (image, width, row / stride, col / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut: the block of ResNet-50."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _downsample(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(image, channel, row, col) -> (image, 4 * width, row / stride, col / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNetTrunk(nn.Module):
    """ResNet up to and including `layer2`: an eighth of the image's side, 128 or 512 channels.

    Parameters
    ----------
    depth
        18 (two basic blocks per layer) or 50 (three and four bottlenecks).
    in_channels
        1 for height images, 3 for colour.
    """

    def __init__(self, depth: Depth, in_channels: int) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = BasicBlock if depth == 18 else Bottleneck
        num_blocks = (2, 2) if depth == 18 else (3, 4)
        self.depth = depth
        self.out_channels = 128 * block.expansion
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(block, 64, 64, num_blocks[0], stride=1)
        self.layer2 = _layer(block, 64 * block.expansion, 128, num_blocks[1], stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, channel, row, col) -> (image, out_channels, row / 8, col / 8)."""
        x = F.relu(self.bn1(self.conv1(images)))  # (image, 64, row / 2, col / 2)
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # (image, 64, row / 4, col / 4)
        x = self.layer1(x)  # (image, 64 * expansion, row / 4, col / 4)
        return self.layer2(x)  # (image, 128 * expansion, row / 8, col / 8)

    def load_imagenet_weights(self, path: Path) -> None:
        """Load a torchvision ResNet state dict of the same depth from a local file.

        With one input channel, `conv1` gets the sum of the three colour kernels: the same response as a grey
        image repeated in all three channels of the colour network.

        Parameters
        ----------
        path
            What `torch.save(torchvision_resnet.state_dict(), path)` writes; only tensors are unpickled.

        Raises
        ------
        ValueError
            If there is no such file, or it holds something else than a ResNet of this depth.
        """
        weights = _read_weights(path, self.depth)
        if self.conv1.in_channels == 1 and "conv1.weight" in weights:
            weights["conv1.weight"] = weights["conv1.weight"].sum(dim=1, keepdim=True)  # (64, 1, 7, 7)
        _check_same_layout(self.state_dict(), weights, path, self.depth)
        self.load_state_dict(weights)


def _layer(
    block: type[BasicBlock | Bottleneck], in_channels: int, width: int, num_blocks: int, stride: int
) -> nn.Sequential:
    first = block(in_channels, width, stride)
    others = (block(width * block.expansion, width, stride=1) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *others)


def _read_weights(path: Path, depth: int) -> dict[str, torch.Tensor]:
    wanted = f"expected torchvision's resnet{depth} state dict as saved by torch.save"
    if not path.is_file():
        raise ValueError(f"got no file at {path}, {wanted}; fetch it where there is a network and give its path")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read, {wanted}; fetch the file again") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{path} holds no plain dictionary of tensors, {wanted}; save `model.state_dict()` alone")
    return {name: value for name, value in loaded.items() if not name.startswith(_IGNORED_PREFIXES)}


def _check_same_layout(
    expected: dict[str, torch.Tensor], given: dict[str, torch.Tensor], path: Path, depth: int
) -> None:
    # torchvision's oldest files were saved before BatchNorm counted its batches.
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unknown = [name for name in given if name not in expected]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
    found = [f"{len(names)} {kind} (first: {names[0]})" for kind, names in faults if names]
    if found:
        raise ValueError(
            f"{path} does not fit: weights {', '.join(found)}; expected torchvision's resnet{depth} state "
            "dict, give the file of that network"
        )
