"""Which proteins train, validate and test: by protein (or cluster of relatives), never by view."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afmsim.dataset import Dataset


@dataclass(frozen=True)
class Split:
    """The protein ids of each part, in the order of the dataset."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    """Scored once a run is trained; nothing is ever chosen by them."""


def split_proteins(
    protein_ids: Sequence[str],
    clusters: Sequence[str],
    seed: int,
    validation_fraction: float,
    test_fraction: float = 0.0,
) -> Split:
    """
    Split by a hash of each protein's group: its cluster of relatives, or itself where the cluster is empty.

    The hash is a number in 0..1. A group tests when it lies below `test_fraction`; of the rest the lowest
    `validation_fraction` validates. Since that asks nothing of the other groups, no protein ever changes sides
    when a dataset grows. Only where a side would be empty, which happens in very small sets, the group nearest
    to the border moves there.

    Raises
    ------
    ValueError
        There are fewer than two groups.
    """
    groups = [cluster or protein_id for protein_id, cluster in zip(protein_ids, clusters, strict=True)]
    position = {group: _unit_hash(seed, group) for group in groups}
    num_groups = len(position)
    if num_groups < 2:
        raise ValueError(
            f"got {len(protein_ids)} proteins in {num_groups} groups of relatives, expected at least two "
            "groups to train on one and validate on another; add structures to the dataset"
        )
    held_out_fraction = test_fraction + (1 - test_fraction) * validation_fraction
    num_test = sum(place < test_fraction for place in position.values())
    num_held_out = sum(place < held_out_fraction for place in position.values())
    # At least one group each for training and validation, and one for the test where there are three.
    num_test = min(max(num_test, int(test_fraction > 0)), num_groups - 2)
    num_held_out = min(max(num_held_out, num_test + 1), num_groups - 1)

    ascending = sorted(position, key=position.__getitem__)
    test_groups, validation_groups = set(ascending[:num_test]), set(ascending[num_test:num_held_out])
    members = list(zip(protein_ids, groups, strict=True))
    held_out = test_groups | validation_groups
    return Split(
        train=tuple(protein_id for protein_id, group in members if group not in held_out),
        validation=tuple(protein_id for protein_id, group in members if group in validation_groups),
        test=tuple(protein_id for protein_id, group in members if group in test_groups),
    )


def families_of(dataset: "Dataset") -> dict[str, str]:
    """Return the family of each protein: its cluster of relatives, or itself."""
    return {row["protein_id"]: row["cluster"] or row["protein_id"] for row in dataset.table}


def split_dataset(dataset: "Dataset", seed: int, validation_fraction: float, test_fraction: float) -> Split:
    """Split the finished proteins of a dataset, by `split_proteins`."""
    done = dataset.done_indices
    ids = [dataset.protein_ids[index] for index in done]
    clusters = [dataset.table[index]["cluster"] for index in done]
    return split_proteins(ids, clusters, seed, validation_fraction, test_fraction)


def thinned(split: Split, num_train: int, seed: int) -> Split:
    """Return `split` with only so many training proteins (0: all), drawn by a hash: fewer are a part of more."""
    if not num_train:
        return split
    chosen = set(sorted(split.train, key=lambda protein_id: _unit_hash(seed, protein_id))[:num_train])
    return replace(split, train=tuple(protein_id for protein_id in split.train if protein_id in chosen))


def _unit_hash(seed: int, group: str) -> float:
    digest = hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
