"""Whole states of trainings, compared bit by bit."""

import torch

from recon.checkpoint import Snapshot


def equal(first: object, second: object) -> bool:
    """Compare nested states bit by bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and list(first) == list(second)
            and all(map(equal, first.values(), second.values()))
        )
    if isinstance(first, list):
        return isinstance(second, list) and len(first) == len(second) and all(map(equal, first, second))
    return first == second


def without_times(snapshot: Snapshot) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "elapsed_s"} for row in snapshot.history]
