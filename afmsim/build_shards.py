"""The work of one rank: claim a shard, make its proteins, write it, note it down, until none is left."""

import logging
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from afmsim.build_config import BuildConfig
from afmsim.dataset import DONE, FAILED, array_specs
from afmsim.meshing import MeshedStructure, mesh_structure
from afmsim.sample import Sample, make_sample
from afmsim.source_list import Source
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

    def build(self, items: range, counters: SharedCounters) -> list[dict[str, Any]]:
        """Make and write one shard; return a row per protein for the journal."""
        config = self.config
        specs = array_specs(config.num_views, config.grid_size, config.target_size, config.image_size)
        shard = {spec.name: np.zeros((len(items), *spec.item_shape), spec.dtype) for spec in specs if spec.chunk_shape}
        rows = []
        for place, index in enumerate(items):
            row, sample = self._protein(index)
            rows.append(row)
            if sample is not None:
                for name, values in shard.items():
                    values[place] = getattr(sample, name)
            counters.add(NUM_DONE if sample is not None else NUM_FAILED, 1)
        group = open_store(self.store, "r+")
        for name, values in shard.items():
            write_shard(group, name, items, values)
        return rows

    def _protein(self, index: int) -> tuple[dict[str, Any], Sample | None]:
        """Make one protein; whatever goes wrong with it is its own row's reason and nobody else's."""
        source = self.sources[index]
        started_s = time.monotonic()
        meshed: MeshedStructure | None = None
        sample: Sample | None = None
        reason = ""
        try:
            meshed = self.worker.call(mesh_structure, source.path, self.config.assembly)
            sample = make_sample(meshed.vertices_nm, meshed.faces, source.protein_id, self.config, self.xp)
        except TaskCancelledError:
            raise
        except Exception as error:
            reason = _reason(error)
            logger.warning("%s failed: %s", source.protein_id, reason)
        row: dict[str, Any] = {
            "index": index,
            "status": FAILED if sample is None else DONE,
            "reason": reason,
            "num_chains": meshed.num_chains if meshed else 0,
            "num_atoms": meshed.num_atoms if meshed else 0,
            "surface_s": round(meshed.surface_s, 3) if meshed else 0.0,
            "elapsed_s": round(time.monotonic() - started_s, 3),
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
