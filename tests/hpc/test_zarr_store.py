from pathlib import Path

import numpy as np
import pytest

from hpc.zarr_store import (
    ArraySpec,
    StoreError,
    StoreRegionError,
    create_store,
    open_store,
    write_shard,
    write_small,
)

SPECS = [ArraySpec("grid", "uint8", (4, 4), (4, 4)), ArraySpec("size_nm", "float32")]


def test_shards_come_back_as_they_were_written(tmp_path: Path) -> None:
    store = tmp_path / "store.zarr"
    create_store(store, SPECS, num_items=5, shard_size=2, attributes={"version": 1})
    grids = np.random.default_rng(0).integers(0, 2, (5, 4, 4)).astype(np.uint8)
    group = open_store(store, "r+")
    for items in (range(2, 4), range(4, 5), range(0, 2)):
        write_shard(group, "grid", items, grids[items.start : items.stop])
    write_small(group, "size_nm", np.arange(5, dtype=np.float32))
    read = open_store(store)
    np.testing.assert_array_equal(read["grid"][:], grids)
    np.testing.assert_array_equal(read["size_nm"][:], np.arange(5))
    assert read.attrs["version"] == 1


def test_what_a_killed_writer_left_goes_when_its_shard_is_written(tmp_path: Path) -> None:
    store = tmp_path / "store.zarr"
    create_store(store, SPECS, num_items=4, shard_size=2, attributes={})
    leftovers = [store / "grid/c/1/0/0.1f.partial", store / "size_nm/c/0.2f.partial"]
    of_another_writer = store / "grid/c/0/0/0.3f.partial"
    for path in (*leftovers, of_another_writer):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    group = open_store(store, "r+")
    write_shard(group, "grid", range(2, 4), np.ones((2, 4, 4), np.uint8))
    write_small(group, "size_nm", np.ones(4, np.float32))
    assert list(store.rglob("*.partial")) == [of_another_writer]


@pytest.mark.parametrize("items", [range(0, 1), range(1, 3), range(2, 5), range(4, 6)])
def test_a_write_that_is_not_one_whole_shard_is_refused(tmp_path: Path, items: range) -> None:
    store = tmp_path / "store.zarr"
    create_store(store, SPECS, num_items=5, shard_size=2, attributes={})
    with pytest.raises(StoreRegionError, match="silently lose"):
        write_shard(open_store(store, "r+"), "grid", items, np.zeros((len(items), 4, 4), np.uint8))


def test_a_flipped_bit_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    store = tmp_path / "store.zarr"
    create_store(store, SPECS[:1], num_items=2, shard_size=2, attributes={})
    write_shard(open_store(store, "r+"), "grid", range(2), np.arange(32, dtype=np.uint8).reshape(2, 4, 4))
    shard = store / "grid" / "c" / "0" / "0" / "0"
    damaged = bytearray(shard.read_bytes())
    damaged[3] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        open_store(store)["grid"][0]


def test_a_missing_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"afmsim\.build"):
        open_store(tmp_path / "nothing.zarr")
