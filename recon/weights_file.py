"""Weights of a network in a file that is there whole or not at all."""

from pathlib import Path

import torch
from torch import nn

from hpc.atomic_file import atomic_write


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights alone, to be read without running any code."""
    with atomic_write(path) as temporary:
        torch.save(model.state_dict(), temporary)
