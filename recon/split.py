"""Which proteins train and which validate: by protein (or cluster of relatives), never by view."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """The protein ids of each part, in the order of the dataset."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def split_proteins(protein_ids: Sequence[str], clusters: Sequence[str], seed: int, validation_fraction: float) -> Split:
    """
    Split by a hash of each protein's group: its cluster of relatives, or itself where the cluster is empty.

    A group validates when its hash, a number in 0..1, lies below `validation_fraction`. Since that asks
    nothing of the other groups, no protein ever changes sides when a dataset grows. Only where one side
    would be empty, which happens in very small sets, the group nearest to the border moves there.

    Raises
    ------
    ValueError
        There are fewer than two groups.
    """
    groups = [cluster or protein_id for protein_id, cluster in zip(protein_ids, clusters, strict=True)]
    position = {group: _unit_hash(seed, group) for group in groups}
    if len(position) < 2:
        raise ValueError(
            f"got {len(protein_ids)} proteins in {len(position)} groups of relatives, expected at least two "
            "groups to train on one and validate on another; add structures to the dataset"
        )
    validation_groups = {group for group in position if position[group] < validation_fraction}
    if not validation_groups:
        validation_groups = {min(position, key=position.__getitem__)}
    if len(validation_groups) == len(position):
        validation_groups.remove(max(position, key=position.__getitem__))
    members = list(zip(protein_ids, groups, strict=True))
    return Split(
        train=tuple(protein_id for protein_id, group in members if group not in validation_groups),
        validation=tuple(protein_id for protein_id, group in members if group in validation_groups),
    )


def _unit_hash(seed: int, group: str) -> float:
    digest = hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
