"""What the network reads: images and bodies of all proteins of a store, held in memory where they fit."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from recon.views import shuffled_samples, training_views


class ProteinData:
    """
    Images and target bodies of the finished proteins of a store.

    Parameters
    ----------
    store_path
        The dataset.
    input_size
        Edge of the images in pixels; the stored ones are averaged down by area.

    Raises
    ------
    ValueError
        The store has no finished protein, or smaller images than `input_size`.
    """

    def __init__(self, store_path: Path, input_size: int) -> None:
        from afmsim.dataset import open_dataset

        self._store = open_dataset(store_path)
        if input_size > self._store.image_size:
            raise ValueError(
                f"got input size {input_size}, expected at most {self._store.image_size}, the image size of "
                f"{store_path}; choose a smaller --input-size or build the dataset with larger images"
            )
        self._store_indices = [int(index) for index in self._store.done_indices]
        if not self._store_indices:
            raise ValueError(f"got {store_path} without any finished protein; build the dataset first")
        self.protein_ids: list[str] = [self._store.protein_ids[index] for index in self._store_indices]
        self.clusters: list[str] = [self._store.table[index]["cluster"] for index in self._store_indices]
        self.num_views: int = self._store.num_views
        self.image_size: int = self._store.image_size
        self.target_size: int = self._store.target_size
        self.input_size = input_size
        self._weights = area_weights(self._store.image_size, input_size)
        self.occupancy = np.stack([self._store.occupancy(index) for index in self._store_indices])
        """uint8 `(protein, z, y, x)`."""
        num_bytes = len(self.protein_ids) * self.num_views * input_size**2 * 4
        self._images = self._read_all() if num_bytes < _free_memory_bytes() / 2 else None

    @property
    def target_voxel_size_nm(self) -> np.ndarray:
        """float64 `(protein,)`: edge of one voxel of `occupancy`."""
        fine = np.asarray(self._store.voxel_size_nm, dtype=np.float64)[self._store_indices]
        return fine * self._store.grid_size / self.target_size

    @property
    def field_of_view_nm(self) -> np.ndarray:
        """float64 `(protein,)`: edge of the images."""
        pixel_size_nm = np.asarray(self._store.pixel_size_nm, dtype=np.float64)[self._store_indices]
        return pixel_size_nm * self.image_size

    def images(self, protein: int, view_indices: np.ndarray) -> np.ndarray:
        """Return float32 `(view, row, col)`, 0..1: views of one protein, see `afmsim.dataset.Dataset.images`."""
        if self._images is not None:
            return self._images[protein, view_indices]
        return self._read(protein, view_indices)

    def indices_of(self, protein_ids: Sequence[str]) -> list[int]:
        """Return the positions of `protein_ids` in this data."""
        position = {protein_id: index for index, protein_id in enumerate(self.protein_ids)}
        return [position[protein_id] for protein_id in protein_ids]

    def _read(self, protein: int, view_indices: np.ndarray | None = None) -> np.ndarray:
        images = self._store.images(self._store_indices[protein], view_indices)
        return self._weights @ images @ self._weights.T  # (view, input row, input col)

    def _read_all(self) -> np.ndarray:
        shape = (len(self.protein_ids), self.num_views, self.input_size, self.input_size)
        images = np.empty(shape, dtype=np.float32)
        for protein in range(len(self.protein_ids)):
            images[protein] = self._read(protein)
        return images


def area_weights(num_pixels: int, num_averaged: int) -> np.ndarray:
    """
    Return the matrix that averages a line of pixels down by area.

    Returns
    -------
    numpy.ndarray
        float32 `(averaged, pixel)`: the share of each averaged pixel that each pixel covers; rows sum to 1.
    """
    width = num_pixels / num_averaged
    pixel = np.arange(num_pixels)[None, :]
    averaged = np.arange(num_averaged)[:, None]
    covered = np.minimum(pixel + 1, (averaged + 1) * width) - np.maximum(pixel, averaged * width)
    return (np.clip(covered, 0, None) / width).astype(np.float32)


class Draw(NamedTuple):
    """Which sample comes next: the index type of `TrainingSamples`."""

    epoch: int
    protein: int
    repeat: int


class Sample(NamedTuple):
    """One sample, or a batch of them with one more leading axis."""

    images: torch.Tensor
    """float32 `(view, 1, row, col)`."""
    occupancy: torch.Tensor
    """uint8 `(z, y, x)`."""
    protein: torch.Tensor
    """int64 `()`: index into `ProteinData`."""


class TrainingSamples(Dataset[Sample]):
    """Samples of training proteins; which views a sample has follows from its `Draw` and the seed alone."""

    def __init__(self, data: ProteinData, num_views: int, seed: int) -> None:
        self._data = data
        self._num_views = num_views
        self._seed = seed

    def __getitem__(self, draw: Draw) -> Sample:
        protein_id = self._data.protein_ids[draw.protein]
        view_indices = training_views(
            self._seed, draw.epoch, protein_id, draw.repeat, self._data.num_views, self._num_views
        )
        return _sample(self._data, draw.protein, view_indices)


class EpochBatches(Sampler[list[Draw]]):
    """
    One rank's share of the batches of an epoch, in which each protein comes `repeats` times, shuffled.

    Every rank sees the same batches, and of each batch every `num_ranks`-th sample; of the last one, which may be
    short, a rank may have no sample at all. Set `epoch` and `first_batch` before iterating.

    Parameters
    ----------
    proteins
        Indices into `ProteinData`.
    batch_size
        Samples in one batch, over all ranks.
    """

    def __init__(
        self, proteins: Sequence[int], repeats: int, seed: int, batch_size: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        self._proteins = proteins
        self._repeats = repeats
        self._seed = seed
        self._batch_size = batch_size
        self._rank = rank
        self._num_ranks = num_ranks
        self.epoch = 0
        self.first_batch = 0

    @property
    def num_samples(self) -> int:
        """Samples of a whole epoch, over all ranks."""
        return len(self._proteins) * self._repeats

    @property
    def num_batches(self) -> int:
        """Batches of a whole epoch."""
        return -(-self.num_samples // self._batch_size)

    def size_of(self, batch: int) -> int:
        """Return the samples in a batch, over all ranks."""
        return min(self._batch_size, self.num_samples - batch * self._batch_size)

    def __len__(self) -> int:
        return self.num_batches - self.first_batch

    def __iter__(self) -> Iterator[list[Draw]]:
        samples = shuffled_samples(self._seed, self.epoch, self.num_samples)
        for batch in range(self.first_batch, self.num_batches):
            start = batch * self._batch_size
            share = samples[start : start + self.size_of(batch)][self._rank :: self._num_ranks]
            yield [
                Draw(self.epoch, self._proteins[sample // self._repeats], int(sample % self._repeats))
                for sample in share
            ]


def training_batches(data: ProteinData, batches: EpochBatches, num_views: int, seed: int) -> DataLoader[Sample]:
    """Return the loader whose every pass is the rest of the epoch that `batches` is set to."""
    return DataLoader(
        TrainingSamples(data, num_views, seed),
        batch_sampler=batches,
        collate_fn=_Collation(data, num_views),
        # Of its own: each pass draws a number from it, and a resumed epoch has one pass more.
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )


@dataclass(frozen=True)
class _Collation:
    """Stacks samples, none at all included."""

    data: ProteinData
    num_views: int

    def __call__(self, samples: list[Sample]) -> Sample:
        if samples:
            return Sample(*(torch.stack(parts) for parts in zip(*samples, strict=True)))
        size, target = self.data.input_size, self.data.target_size
        return Sample(
            images=torch.empty(0, self.num_views, 1, size, size),
            occupancy=torch.empty(0, target, target, target, dtype=torch.uint8),
            protein=torch.empty(0, dtype=torch.int64),
        )


def stack_samples(data: ProteinData, views_of_protein: dict[int, np.ndarray]) -> Sample:
    """Return one batch of the given proteins, each with the given view indices `(view,)`."""
    samples = [_sample(data, protein, view_indices) for protein, view_indices in views_of_protein.items()]
    return Sample(*(torch.stack(parts) for parts in zip(*samples, strict=True)))


def _sample(data: ProteinData, protein: int, view_indices: np.ndarray) -> Sample:
    return Sample(
        images=torch.from_numpy(data.images(protein, view_indices)).unsqueeze(1),  # (view, 1, row, col)
        occupancy=torch.from_numpy(data.occupancy[protein]),
        protein=torch.tensor(protein),
    )


def _free_memory_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
