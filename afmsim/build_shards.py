"""The work of one rank: claim a shard, make its proteins, write it, note it down, until none is left."""

import logging
import resource
import time
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from afmsim.build_config import BuildConfig
from afmsim.dataset import DONE, FAILED, array_specs
from afmsim.sample import Sample, make_sample
from afmsim.source_list import Source
from afmsim.surface import StructureSurface, read_surface
from hpc.communicator import SharedCounters
from hpc.isolation import (
    IsolatedTaskError,
    IsolatedWorker,
    TaskCancelledError,
    TaskMemoryError,
    TaskTimeoutError,
)
from hpc.journal import Journal
from hpc.stop_signal import StopSignal
from hpc.zarr_store import open_store, write_shard

logger = logging.getLogger(__name__)

# Slots of the shared counters.
NEXT_SHARD, NUM_DONE, NUM_FAILED = 0, 1, 2


@dataclass(frozen=True)
class ShardBuilder:
    """Makes whole shards of one store."""

    store: Path
    sources: list[Source]
    config: BuildConfig
    worker: IsolatedWorker
    xp: ModuleType
    computing: Executor
    """see `hpc.in_flight`"""

    def build(self, items: range, counters: SharedCounters) -> list[dict[str, Any]]:
        """
        Make and write one shard; return a row per protein for the journal.

        The next structure is read while the GPU, if there is one, computes those before it.
        """
        specs = array_specs(asdict(self.config))
        shard = {spec.name: np.zeros((len(items), *spec.item_shape), spec.dtype) for spec in specs if spec.chunk_shape}
        begun = [self._begin(index) for index in items]
        rows = []
        for place, protein in enumerate(begun):
            row, sample = protein.finish()
            rows.append(row)
            if sample is not None:
                for name, values in shard.items():
                    values[place] = sample.arrays[name]
            counters.add(NUM_DONE if sample is not None else NUM_FAILED, 1)
        group = open_store(self.store, "r+")
        for name, values in shard.items():
            write_shard(group, name, items, values)
        return rows

    def _begin(self, index: int) -> "BegunProtein":
        """Read one protein and hand it in to be computed."""
        source = self.sources[index]
        started_s = time.monotonic()
        surface: StructureSurface | None = None
        computed: Future = Future()
        try:
            surface = self.worker.call(read_surface, source.path, self.config.surface, self.config.assembly)
            computed = self.computing.submit(make_sample, surface.shape, source.protein_id, self.config, self.xp)
        except TaskCancelledError:
            raise
        except Exception as error:
            computed.set_exception(error)
        return BegunProtein(index, source.protein_id, started_s, surface, computed)


@dataclass(frozen=True)
class BegunProtein:
    """A protein whose sample is being computed; whatever goes wrong with it is its own row's reason."""

    index: int
    protein_id: str
    started_s: float
    surface: StructureSurface | None
    computed: Future

    def finish(self) -> tuple[dict[str, Any], Sample | None]:
        """Wait for the sample; return the journal's row, and the sample unless it failed."""
        sample: Sample | None = None
        reason = ""
        try:
            sample = self.computed.result()
        except Exception as error:
            reason = _reason(error)
            logger.warning("%s failed: %s", self.protein_id, reason)
        row: dict[str, Any] = {
            "index": self.index,
            "status": FAILED if sample is None else DONE,
            "reason": reason,
            "num_chains": self.surface.num_chains if self.surface else 0,
            "num_atoms": self.surface.num_atoms if self.surface else 0,
            "surface_s": round(self.surface.surface_s, 3) if self.surface else 0.0,
            "elapsed_s": round(time.monotonic() - self.started_s, 3),
        }
        if sample is not None:
            for name in ("voxel_size_nm", "pixel_size_nm", "height_scale_nm", "center_xyz_nm"):
                row[name] = getattr(sample, name)
        return row, sample


def _reason(error: Exception) -> str:
    """Return one line that says what was wrong with a protein, and what to do where a limit was in the way."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, IsolatedTaskError):
        text = f"reading and meshing {text}"
    if isinstance(error, TaskTimeoutError):
        text += "; raise --protein-timeout-s and use --retry-failed"
    if isinstance(error, TaskMemoryError):
        text += "; raise --protein-memory-gb and use --retry-failed"
    return text


def build_claimed_shards(
    builder: ShardBuilder,
    shards: list[range],
    order: list[int],
    counters: SharedCounters,
    journal: Journal,
    stop: StopSignal,
) -> bool:
    """
    Build shards in the given order, each claimed by the shared counter, until none is left or a stop is asked for.

    A shard that is not ready when the grace after a stop is over is given up; nothing of it is written.

    Returns
    -------
    bool
        Whether this rank saw the end of the list.
    """
    while not stop.is_set:
        claimed = counters.add(NEXT_SHARD, 1)
        if claimed >= len(order):
            return True
        try:
            rows = builder.build(shards[order[claimed]], counters)
        except TaskCancelledError:
            return False
        journal.append(
            {
                "shard": order[claimed],
                "rows": rows,
                "rank_peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
                "worker_peak_memory_gb": round(builder.worker.peak_memory_gb, 3),
            }
        )
    return False
