import numpy as np
import pytest

import recon.loading.training_data
from afmsim.dataset import open_dataset
from recon.loading.training_data import ProteinData, area_weights
from tests.helpers.tiny_store import TARGET_SIZE, write_tiny_store


def test_a_whole_ratio_averages_whole_pixels():
    image = np.random.default_rng(0).random((12, 12), dtype=np.float32)
    weights = area_weights(12, 4)
    np.testing.assert_allclose(weights @ image @ weights.T, image.reshape(4, 3, 4, 3).mean((1, 3)), rtol=1e-6)


@pytest.mark.parametrize("num_averaged", [1, 5, 64, 100, 223, 224])
def test_averaging_keeps_constants_and_the_mean(num_averaged):
    weights = area_weights(224, num_averaged)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), num_averaged / 224, rtol=1e-5)


def test_the_same_size_changes_nothing():
    np.testing.assert_array_equal(area_weights(7, 7), np.eye(7))


def test_images_are_heights_as_a_share_of_the_field_of_view(tiny_store):
    data, store = ProteinData(tiny_store, 32), open_dataset(tiny_store)
    expected = store.heights_nm(2, [3, 1]) / store.field_of_view_nm(2)
    np.testing.assert_allclose(data.images(2, np.array([3, 1])), expected, rtol=2**-11, atol=1e-7)


def test_a_failed_protein_is_left_out(tiny_store):
    assert len(open_dataset(tiny_store).protein_ids) == 7
    data = ProteinData(tiny_store, 32)
    assert len(data.protein_ids) == 6
    assert data.occupancy.shape == (6, TARGET_SIZE, TARGET_SIZE, TARGET_SIZE)


def test_images_that_do_not_fit_into_memory_are_read_and_equal(tiny_store, monkeypatch):
    held = ProteinData(tiny_store, 20)
    held.hold_images()
    monkeypatch.setattr(recon.loading.training_data, "_free_memory_bytes", lambda: 0)
    read = ProteinData(tiny_store, 20)
    read.hold_images()
    views = np.array([4, 0])
    assert held.arrays["images"].held is not None
    assert read.arrays["images"].held is None
    np.testing.assert_array_equal(held.images(1, views), read.images(1, views))


def test_whole_shards_hold_the_items_that_are_read_one_by_one(tmp_path):
    store = open_dataset(write_tiny_store(tmp_path / "shards.zarr", num_proteins=6, shard_size=3))
    names = ("occupancy", "occupancy_fine", "view_rotations", "images")
    single = [getattr(store, name)(index).tobytes() for name in names for index in (0, 2, 3, 5, 1)]
    with store.whole_shards():
        whole = [getattr(store, name)(index).tobytes() for name in names for index in (0, 2, 3, 5, 1)]
        assert len(store._shards) == 4
    assert whole == single
    assert not store._shards


def test_images_are_not_made_larger_than_they_are(tiny_store):
    with pytest.raises(ValueError, match="got input size 64, expected at most 32"):
        ProteinData(tiny_store, 64)


def test_a_dataset_without_finished_proteins_is_refused(tmp_path):
    store = write_tiny_store(tmp_path / "empty.zarr", num_proteins=0)
    with pytest.raises(ValueError, match="without any finished protein"):
        ProteinData(store, 32)


def test_sizes_in_nm_are_those_of_the_target_grid_and_the_images(tiny_store):
    data = ProteinData(tiny_store, 16)
    np.testing.assert_allclose(data.target_voxel_size_nm, 0.25)
    np.testing.assert_allclose(data.field_of_view_nm, 8)
