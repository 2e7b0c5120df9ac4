import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import recon.training_data
from afmsim.dataset import open_dataset
from recon.training_data import EpochBatches, ProteinData, area_weights, stack_samples, training_batches
from recon.views import training_views
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
    np.testing.assert_allclose(data.images(2, np.array([3, 1])), expected, rtol=1e-6)


def test_a_failed_protein_is_left_out(tiny_store):
    assert len(open_dataset(tiny_store).protein_ids) == 7
    data = ProteinData(tiny_store, 32)
    assert len(data.protein_ids) == 6
    assert data.occupancy.shape == (6, TARGET_SIZE, TARGET_SIZE, TARGET_SIZE)


def test_images_that_do_not_fit_into_memory_are_read_and_equal(tiny_store, monkeypatch):
    held = ProteinData(tiny_store, 20)
    monkeypatch.setattr(recon.training_data, "_free_memory_bytes", lambda: 0)
    read = ProteinData(tiny_store, 20)
    views = np.array([4, 0])
    assert read._images is None
    np.testing.assert_array_equal(held.images(1, views), read.images(1, views))


def test_images_are_not_made_larger_than_they_are(tiny_store):
    with pytest.raises(ValueError, match="got input size 64, expected at most 32"):
        ProteinData(tiny_store, 64)


def test_a_dataset_without_finished_proteins_is_refused(tmp_path):
    store = write_tiny_store(tmp_path / "empty.zarr", num_proteins=0)
    with pytest.raises(ValueError, match="without any finished protein"):
        ProteinData(store, 32)


def test_an_epoch_has_each_training_protein_as_often_as_asked(tiny_store):
    data = ProteinData(tiny_store, 32)
    order = EpochBatches([0, 2, 5], repeats=4, seed=0, batch_size=5)
    batches = list(training_batches(data, order, num_views=2, seed=0))
    proteins = torch.cat([batch.protein for batch in batches]).tolist()
    assert sorted(proteins) == [0] * 4 + [2] * 4 + [5] * 4
    assert batches[0].images.shape == (5, 2, 1, 32, 32)
    assert batches[0].occupancy.shape == (5, TARGET_SIZE, TARGET_SIZE, TARGET_SIZE)


@settings(deadline=None)
@given(
    num_proteins=st.integers(1, 9),
    repeats=st.integers(1, 3),
    batch_size=st.integers(1, 8),
    num_ranks=st.integers(1, 5),
    data=st.data(),
)
def test_the_ranks_share_the_very_batches_of_one_rank_from_any_step_on(
    num_proteins, repeats, batch_size, num_ranks, data
):
    shares = [EpochBatches(range(num_proteins), repeats, 0, batch_size, rank, num_ranks) for rank in range(num_ranks)]
    alone = EpochBatches(range(num_proteins), repeats, 0, batch_size)
    first_batch = data.draw(st.integers(0, alone.num_batches))
    for batches in (alone, *shares):
        batches.epoch, batches.first_batch = 3, first_batch
    whole = list(alone)
    assert len(whole) == len(alone) == alone.num_batches - first_batch
    assert [len(batch) for batch in whole] == [alone.size_of(first_batch + number) for number in range(len(whole))]
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert sorted(batch) == sorted(draw for part in parts for draw in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_sample_shows_its_views_as_they_are_stored_without_any_mirroring(tiny_store):
    data = ProteinData(tiny_store, 32)
    order = EpochBatches([3], repeats=4, seed=7, batch_size=4)
    order.epoch = 5
    (batch,) = training_batches(data, order, num_views=3, seed=7)
    expected = {data.images(3, training_views(7, 5, "body03", repeat, 5, 3)).tobytes() for repeat in range(4)}
    assert {images.numpy().tobytes() for images in batch.images} == expected


def test_stacked_samples_have_the_views_asked_for(tiny_store):
    data = ProteinData(tiny_store, 32)
    sample = stack_samples(data, {4: np.array([0, 2]), 1: np.array([1, 3])})
    assert sample.protein.tolist() == [4, 1]
    np.testing.assert_array_equal(sample.images[1, :, 0].numpy(), data.images(1, np.array([1, 3])))


def test_sizes_in_nm_are_those_of_the_target_grid_and_the_images(tiny_store):
    data = ProteinData(tiny_store, 16)
    np.testing.assert_allclose(data.target_voxel_size_nm, 0.25)
    np.testing.assert_allclose(data.field_of_view_nm, 8)
