"""Weights of a small network in a file that is there whole or not at all, and is read without running any code."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from hpc.atomic_file import atomic_write

Network = TypeVar("Network", bound=nn.Module)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights alone."""
    with atomic_write(path) as temporary:
        torch.save(model.state_dict(), temporary)


def load_weights(
    path: Path, network_for: Callable[[dict[str, torch.Tensor]], Network], name: str, command: str
) -> Network:
    """
    Read weights that `save_weights` wrote; return the network in evaluation mode.

    Parameters
    ----------
    network_for
        Returns a network that such weights fit.
    name, command
        What it is called, also as an option, and the module that trains it.

    Raises
    ------
    ValueError
        There is no such file, or it holds another network or none.
    """
    if not path.is_file():
        raise ValueError(f"got no {name} at {path}; train one with python -m {command}, and name it with --{name}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        model = network_for(weights)
        model.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} holds no {name} of this version; train it again") from error
    return model.eval()
