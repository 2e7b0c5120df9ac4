"""
Whether the shards of a Zarr v3 array are whole: every chunk there, every checksum right.

A reader of Zarr takes a missing chunk for zeros, so presence is read from the index that ends each shard file: an
(offset, length) pair of 64-bit numbers per chunk, all bits set for a chunk that is not there, then a CRC-32C
(zarr-specs, sharding codec 1.0).
"""

from pathlib import Path
from typing import Any

import numpy as np

_MISSING = np.iinfo(np.uint64).max
_INDEX_CHECKSUM_BYTES = 4


def damaged_items(store: Path, array: Any, items: range) -> dict[int, str]:
    """
    Return what is wrong with each damaged item of one shard, in a few words.

    Parameters
    ----------
    array
        A sharded array of the group at `store`, opened for reading.
    items
        The items of one shard.
    """
    shard_number = items.start // array.shards[0]
    path = Path(store) / array.path / "c" / "/".join([str(shard_number)] + ["0"] * (array.ndim - 1))
    if not path.is_file():
        return dict.fromkeys(items, f"{array.path}: shard file is missing")
    missing = _missing_items(path, array)
    damaged = {}
    for place, item in enumerate(items):
        if missing is None:
            damaged[item] = f"{array.path}: shard file is cut short"
        elif missing[place]:
            damaged[item] = f"{array.path}: chunk is missing"
        else:
            try:
                array[item]
            except Exception as error:
                # The codecs raise their own kinds of errors for a wrong checksum or a stream that cannot be read.
                damaged[item] = f"{array.path}: {' '.join(str(error).split())[:200]}"
    return damaged


def _missing_items(path: Path, array: Any) -> np.ndarray | None:
    """Return per item of a shard whether any of its chunks is missing, bool (item,); None for an unreadable index."""
    chunks_per_axis = [shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True)]
    num_index_bytes = 16 * int(np.prod(chunks_per_axis))
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < num_index_bytes + _INDEX_CHECKSUM_BYTES:
            return None
        file.seek(size - num_index_bytes - _INDEX_CHECKSUM_BYTES)
        index = np.frombuffer(file.read(num_index_bytes), "<u8").reshape(chunks_per_axis[0], -1, 2)
    return (index[:, :, 0] == _MISSING).any(axis=1)
