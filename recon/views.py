"""Which views of a protein the network sees: pure functions of the seed, so that nothing has to be remembered."""

import hashlib

import numpy as np


def training_views(
    seed: int, epoch: int, protein_id: str, repeat: int, num_available: int, num_views: int
) -> np.ndarray:
    """
    Draw the views of one training sample.

    Returns
    -------
    numpy.ndarray
        int64 `(view,)`: `num_views` different indices below `num_available`, drawn anew for each epoch
        and for each of the repeats of a protein within an epoch.
    """
    check_view_count(num_views, num_available)
    rng = _rng("training", seed, epoch, protein_id, repeat)
    return rng.permutation(num_available)[:num_views]


def evaluation_order(seed: int, protein_id: str, num_available: int) -> np.ndarray:
    """
    Draw the order in which the views of one protein are taken when it is scored.

    A run draws it once and keeps it in its folder, so that no later version of NumPy changes a score.

    Returns
    -------
    numpy.ndarray
        int64 `(view,)`: a permutation of all views. Scores with n views take its first n, so that more views
        always means the same views and some more.
    """
    return _rng("evaluation", seed, protein_id).permutation(num_available)


def shuffled_samples(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """Return int64 `(sample,)`: the order in which the samples of one epoch are trained on."""
    return _rng("order", seed, epoch).permutation(num_samples)


def check_view_count(num_views: int, num_available: int) -> None:
    """Raise ValueError unless `num_views` different views can be drawn from `num_available`."""
    if not 1 <= num_views <= num_available:
        raise ValueError(
            f"got {num_views} views, expected 1 to {num_available}, the number of views of each protein "
            "in the dataset; ask for fewer or build the dataset with more"
        )


def _rng(*key: object) -> np.random.Generator:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
