"""
One Zarr v3 group that many ranks write: the only door to zarr.

Arrays share axis 0, the item. An array is either sharded (a shard holds a run of items and has one writer) or small
(one value per item in a single chunk, written by one rank at the end). Every chunk carries a CRC-32C checksum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np


class StoreError(ValueError):
    """A store is missing or is not what was expected."""


class StoreRegionError(ValueError):
    """A write would not cover whole shards."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of the store, `item_shape` and `chunk_shape` without the item axis."""

    name: str
    dtype: str
    item_shape: tuple[int, ...] = ()
    chunk_shape: tuple[int, ...] | None = None
    """Shape of the piece that is compressed and read at once; None for a small array in a single chunk."""
    meaning: str = ""


def create_store(
    path: Path, specs: Sequence[ArraySpec], num_items: int, shard_size: int, attributes: dict[str, Any]
) -> None:
    """Create the group at `path` with empty arrays of `num_items` items and shards of `shard_size` items."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    # Made in memory first: on a full disk zarr's concurrent writers would leave stray tracebacks beside the error.
    metadata: dict[str, Any] = {}
    group = zarr.create_group(store=MemoryStore(metadata), zarr_format=3, attributes=attributes)
    for spec in specs:
        item_size = np.dtype(spec.dtype).itemsize
        sharded = spec.chunk_shape is not None
        group.create_array(
            spec.name,
            shape=(num_items, *spec.item_shape),
            dtype=spec.dtype,
            chunks=(1, *spec.chunk_shape) if spec.chunk_shape is not None else (num_items, *spec.item_shape),
            shards=(shard_size, *spec.item_shape) if sharded else None,
            compressors=(
                # Higher levels take five times as long for 5 % less; shuffled single bytes take more room.
                BloscCodec(
                    cname="zstd",
                    clevel=1,
                    shuffle="bitshuffle" if item_size > 1 else "noshuffle",
                    typesize=item_size,
                ),
                Crc32cCodec(),
            ),
            fill_value=0,
            attributes={"meaning": spec.meaning},
            # A chunk of zeros is written too, so that a missing chunk always means a missing result.
            config={"write_empty_chunks": True},
        )
    for key, content in metadata.items():
        file = path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.to_bytes())


def open_store(path: Path, mode: Literal["r", "r+"] = "r") -> Any:
    """
    Open the group at `path` for reading ("r") or for writing its arrays ("r+").

    Raises
    ------
    StoreError
        There is no Zarr v3 group.
    """
    import zarr

    if not (Path(path) / "zarr.json").is_file():
        raise StoreError(f"expected a Zarr v3 store at {path}, found none; build one with `python -m afmsim.build`")
    return zarr.open_group(store=path, mode=mode, zarr_format=3)


def write_shard(group: Any, name: str, items: range, values: np.ndarray) -> None:
    """
    Write the values of one whole shard of array `name`.

    Parameters
    ----------
    items
        The items of exactly one shard (the last one may be shorter).
    values
        `(item, ...)` array, as many items as `items`.

    Raises
    ------
    StoreRegionError
        `items` is not one whole shard.
    """
    array = group[name]
    shard_size = array.shards[0]
    expected_stop = min(items.start + shard_size, array.shape[0])
    if items.start % shard_size or items.stop != expected_stop:
        raise StoreRegionError(
            f"items {items.start}:{items.stop} of {name} are not one whole shard of {shard_size}; two writers of one "
            "shard silently lose each other's items; write aligned shards only"
        )
    _remove_leftovers(group, f"{name}/c/{items.start // shard_size}")
    array[items.start : items.stop] = values


def write_small(group: Any, name: str, values: np.ndarray) -> None:
    """Write a whole small array; one rank only."""
    _remove_leftovers(group, f"{name}/c")
    group[name][:] = values


def _remove_leftovers(group: Any, folder: str) -> None:
    """Remove the temporary files of a writer that was killed; the folder has no other writer now."""
    for leftover in (Path(group.store.root) / folder).rglob("*.partial"):
        leftover.unlink()
