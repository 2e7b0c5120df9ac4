"""What the trainings of the small networks share: their options, which proteins they learn from, one cycle of steps."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

    from afmsim.dataset import Dataset

Batch = TypeVar("Batch")

MAX_RELATIVES = 8
"""Training proteins of one family, so that a large family does not outvote all others."""


def add_training_options(
    parser: argparse.ArgumentParser, what: str, epochs: int, max_proteins: int, learning_rate: float
) -> None:
    """Give `parser` the options of a training on `what`, such as "images", with these defaults."""
    add = parser.add_argument
    add("--store", type=Path, required=True, help="dataset of afmsim.build")
    add("--out", type=Path, required=True, help="file that the weights are written to")
    add("--epochs", type=int, default=epochs, help=f"passes over all {what} (default: %(default)s)")
    add("--max-proteins", type=int, default=max_proteins, help="training proteins, taken evenly (default: %(default)s)")
    add("--batch-size", type=int, default=8, help=f"{what} per step (default: %(default)s)")
    add("--learning-rate", type=float, default=learning_rate, help="highest rate of one cycle (default: %(default)s)")
    add("--validation-fraction", type=float, default=0.2, help="share that validates (default: %(default)s)")
    add("--test-fraction", type=float, default=0.1, help="share that is left out (default: %(default)s)")
    add("--seed", type=int, default=0, help=f"seed of the split, the {what} and the weights (default: %(default)s)")


def split_indices(dataset: "Dataset", arguments: argparse.Namespace) -> tuple[list[int], list[int]]:
    """Return the indices of training proteins, at most `MAX_RELATIVES` of a family, and of validation proteins."""
    from recon.split import families_of, split_dataset

    split = split_dataset(dataset, arguments.seed, arguments.validation_fraction, arguments.test_fraction)
    position = {dataset.protein_ids[index]: int(index) for index in dataset.done_indices}
    family = families_of(dataset)
    num_taken: Counter[str] = Counter()
    training = []
    for name in split.train:
        num_taken[family[name]] += 1
        if num_taken[family[name]] <= MAX_RELATIVES:
            training.append(position[name])
    return training, [position[name] for name in split.validation]


def evenly_thinned(indices: list[int], most: int) -> list[int]:
    """Return at most so many of the indices, evenly spread."""
    return indices[:: -(-len(indices) // most)] if indices else []


def train_one_cycle(
    model: "nn.Module",
    arguments: argparse.Namespace,
    num_samples: int,
    batches_of_epoch: Callable[[], Iterable[Batch]],
    loss_of: Callable[[Batch], "torch.Tensor"],
) -> Iterator[float]:
    """Train with AdamW in one cycle of its rate; yield the mean loss after each epoch."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    num_batches = -(-num_samples // arguments.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, total_steps=arguments.epochs * num_batches
    )
    for _ in range(arguments.epochs):
        mean_loss = 0.0
        model.train()
        for batch in batches_of_epoch():
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            mean_loss += loss.item() / num_batches
        yield mean_loss
