"""
A run's arrays on each node's own disk, as one HDF5 file that all ranks of the node map: the only door to h5py here.

The file's name follows from the dataset and from what is taken of it; so a later run finds it, and one of another
dataset or with other settings makes its own. Arrays lie in it uncompressed, each in one piece.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from afmsim.dataset import TABLE_NAME
from hpc.atomic_file import atomic_write
from recon.distributed import Ranks
from recon.loading.protein_arrays import ProteinArray
from recon.loading.samples import arrays_of
from recon.loading.training_data import ProteinData
from recon.train_config import TrainConfig

logger = logging.getLogger(__name__)

AUTO, NONE = "auto", "none"


def stage_folder(stage: str, environment: Mapping[str, str]) -> Path | None:
    """Return the folder that the setting `stage` means: `auto` is $SLURM_TMPDIR where that is set; None for none."""
    if stage == AUTO:
        stage = environment.get("SLURM_TMPDIR", NONE)
    return None if stage == NONE else Path(stage)


def run_data(store: Path, config: TrainConfig, is_online: bool, ranks: Ranks) -> ProteinData:
    """
    Return what a run reads: from the node's own disk where `config` says so, in memory where it fits.

    Parameters
    ----------
    store
        The dataset.
    is_online
        Whether views are rendered when they are needed, so that no stored ones are read ahead.
    """
    data = ProteinData(store, config.input_size)
    if folder := stage_folder(config.stage, os.environ):
        use_staged(folder, data, arrays_of(config.frame, is_online), ranks)
    if not is_online:
        data.hold_images()
    return data


def use_staged(folder: Path, data: ProteinData, names: Sequence[str], ranks: Ranks) -> None:
    """
    Map the arrays `names` of `data` from a file in `folder`; the first rank of each node writes it where it is absent.

    Where the disk has no room for it, the dataset is read as without staging. All ranks call this together.
    """
    arrays = {name: data.arrays[name] for name in names}
    path = folder / f"afm_recon_{_key(data, names)}.h5"
    if ranks.local_rank == 0:
        with data.store.whole_shards():
            _prepare(path, arrays)
    ranks.barrier()
    for name, offset in _offsets(path, arrays).items():
        array = arrays[name]
        array.held = np.memmap(path, array.dtype, mode="r", offset=offset, shape=array.shape)


def _key(data: ProteinData, names: Sequence[str]) -> str:
    """Return a hash of the dataset's identity, of its finished proteins and of what is taken of it."""
    store = data.store
    digest = hashlib.sha256(json.dumps([str(store.path.resolve()), store.attributes, sorted(names)]).encode())
    digest.update((store.path / TABLE_NAME).read_bytes())
    digest.update(json.dumps([data.store_indices, data.input_size]).encode())
    return digest.hexdigest()[:16]


def _prepare(path: Path, arrays: Mapping[str, ProteinArray]) -> None:
    """Write the file unless it is there and whole."""
    if _offsets(path, arrays):
        logger.info("reading %s, which an earlier run has staged", path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    num_bytes = sum(array.num_bytes for array in arrays.values())
    free_bytes = shutil.disk_usage(path.parent).free
    if num_bytes > free_bytes:
        logger.warning(
            "got %.1f GB of room in %s, expected %.1f GB: reading the dataset without staging; give more room, "
            "or name another folder with --stage",
            *(free_bytes / 1e9, path.parent, num_bytes / 1e9),
        )
        return
    logger.info("staging %.1f GB to %s", num_bytes / 1e9, path)
    with atomic_write(path) as temporary:
        _write(temporary, arrays)


def _write(path: Path, arrays: Mapping[str, ProteinArray]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            staged = file.create_dataset(name, array.shape, array.dtype)
            for protein in range(array.shape[0]):
                staged[protein] = array.read(protein)


def _offsets(path: Path, arrays: Mapping[str, ProteinArray]) -> dict[str, int]:
    """Return where in the file each array begins; nothing where the file is absent, broken or not what is expected."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            offsets = {}
            for name, array in arrays.items():
                staged = file[name]
                offset = staged.id.get_offset()
                if (staged.shape, staged.dtype) != (array.shape, array.dtype) or offset is None:
                    return {}
                if offset + array.num_bytes > path.stat().st_size:
                    return {}
                offsets[name] = int(offset)
            return offsets
    except (OSError, KeyError):
        return {}


def _remove_leftovers(path: Path) -> None:
    """Remove what writers of this file left that were killed."""
    for leftover in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        process = leftover.name.split(".")[2]
        if not Path(f"/proc/{process}").exists():
            leftover.unlink(missing_ok=True)
