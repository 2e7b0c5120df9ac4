"""In which order samples are trained on, and the loader that makes them."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from recon.loading.loader_workers import START_METHOD, begin_worker, deaf_children
from recon.loading.online_views import online_rotations
from recon.loading.samples import Reading, Sample, SampleMaker
from recon.views import shuffled_samples, training_views

CPU = torch.device("cpu")


class Draw(NamedTuple):
    """Which sample comes next: the index type of `TrainingReadings`."""

    epoch: int
    protein: int
    repeat: int


class TrainingReadings(Dataset[Reading]):
    """
    What is read for training; which views a sample has follows from its `Draw` and the seed alone.

    Parameters
    ----------
    is_online
        Whether views are rendered, in new orientations, rather than drawn from the stored ones.
    """

    def __init__(self, maker: SampleMaker, num_views: int, seed: int, is_online: bool) -> None:
        self._maker = maker
        self._num_views = num_views
        self._seed = seed
        self._is_online = is_online

    def __getitem__(self, draw: Draw) -> Reading:
        data = self._maker.data
        key = (self._seed, draw.epoch, data.protein_ids[draw.protein], draw.repeat)
        if self._is_online:
            return self._maker.read_unrendered(draw.protein, online_rotations(*key, self._num_views))
        return self._maker.read(draw.protein, training_views(*key, data.num_views, self._num_views))


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


class TrainingBatches:
    """
    The samples of an epoch, batch by batch: every pass is the rest of the epoch that `order` is set to.

    For a CPU, samples are finished where they are read; for a GPU, they are read and then finished there.

    Parameters
    ----------
    is_online
        Whether views are rendered, in new orientations, rather than drawn from the stored ones.
    num_workers
        Processes that read ahead; they change no sample. With none, this process reads.
    """

    def __init__(
        self,
        maker: SampleMaker,
        order: EpochBatches,
        num_views: int,
        seed: int,
        is_online: bool = False,
        device: torch.device = CPU,
        num_workers: int = 0,
    ) -> None:
        self._maker = maker
        self._device = device
        self._loader: DataLoader[Sample | Reading] = DataLoader(
            TrainingReadings(maker, num_views, seed, is_online),
            batch_sampler=order,
            collate_fn=_Collation(maker, num_views, is_finished=device.type == "cpu"),
            # Of its own: each pass draws a number from it, and a resumed epoch has one pass more.
            generator=torch.Generator(),
            pin_memory=device.type != "cpu",
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            multiprocessing_context=START_METHOD if num_workers else None,
            worker_init_fn=begin_worker,
        )

    def __iter__(self) -> Iterator[Sample]:
        with deaf_children() if self._loader.num_workers else nullcontext():
            batches = iter(self._loader)
        for batch in batches:
            yield batch if isinstance(batch, Sample) else self._maker.finish(batch, self._device)


@dataclass(frozen=True)
class _Collation:
    """Makes one batch of what was read."""

    maker: SampleMaker
    num_views: int
    is_finished: bool

    def __call__(self, readings: list[Reading]) -> Sample | Reading:
        batch = self.maker.stack(readings, self.num_views)
        return self.maker.finish(batch, CPU) if self.is_finished else batch
