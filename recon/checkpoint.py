"""The whole state of a training run in one file that is there whole or not at all."""

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpc.atomic_file import atomic_write


@dataclass(frozen=True)
class Snapshot:
    """
    Everything that a run needs to go on as if it had never stopped.

    Views and order are pure functions of (seed, epoch, protein), see `recon.views`; the random states kept
    here are those of torch.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    epoch: int
    """Number of finished epochs."""
    step: int
    """Number of optimizer steps taken."""
    step_in_epoch: int
    """How many of them in the epoch that is under way: the position of the sampler."""
    totals: dict[str, float]
    """Sums of that epoch, see `recon.trainer.EpochTotals`."""
    best_validation_iou: float
    history: list[dict[str, float]]
    """One row per finished epoch, as in metrics.csv."""
    config: dict[str, Any]
    cpu_rng_state: torch.Tensor
    gpu_rng_states: list[torch.Tensor]


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to `path`, replacing the one before."""
    values = {field.name: getattr(snapshot, field.name) for field in dataclasses.fields(snapshot)}
    with atomic_write(path) as temporary:
        torch.save(values, temporary)


def load_snapshot(path: Path) -> Snapshot:
    """
    Read a snapshot into host memory; nothing in the file is executed.

    Raises
    ------
    ValueError
        The file is not a snapshot.
    """
    try:
        return Snapshot(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"got {path}, which is not a readable snapshot of recon.train ({type(error).__name__}); "
            "delete it to train this run again from the start"
        ) from error
