import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.inference import evaluation_batches
from recon.loading.samples import SampleMaker
from recon.loading.target_frame import body_shares, principal_rotation, turned_target
from recon.loading.training_batches import EpochBatches, TrainingBatches
from recon.loading.training_data import ProteinData
from recon.train_config import FRAMES
from recon.views import training_views
from tests.helpers.tiny_store import TARGET_SIZE

CPU = torch.device("cpu")


def test_an_epoch_has_each_training_protein_as_often_as_asked(tiny_store):
    data = ProteinData(tiny_store, 32)
    order = EpochBatches([0, 2, 5], repeats=4, seed=0, batch_size=5)
    batches = list(TrainingBatches(SampleMaker(data), order, num_views=2, seed=0))
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
    (batch,) = TrainingBatches(SampleMaker(data), order, num_views=3, seed=7)
    expected = {data.images(3, training_views(7, 5, "body03", repeat, 5, 3)).tobytes() for repeat in range(4)}
    assert {images.numpy().tobytes() for images in batch.images} == expected


@pytest.mark.parametrize("frame", FRAMES)
def test_the_ranks_share_the_very_samples_of_one_rank(tiny_store, frame):
    data = ProteinData(tiny_store, 32)

    def samples(rank, num_ranks):
        order = EpochBatches([0, 2, 5], 3, 4, 4, rank, num_ranks)
        return [
            {tuple(part.numpy().tobytes() for part in sample) for sample in zip(*batch, strict=True)}
            for batch in TrainingBatches(SampleMaker(data, frame), order, num_views=2, seed=4)
        ]

    alone = samples(0, 1)
    assert [first | second for first, second in zip(samples(0, 2), samples(1, 2), strict=True)] == alone
    assert [len(batch) for batch in alone] == [4, 4, 1]


@pytest.mark.parametrize("is_online", [False, True])
def test_workers_change_no_sample_and_no_order(tiny_store, is_online):
    data = ProteinData(tiny_store, 20)
    data.hold_images()

    def samples(num_workers):
        order = EpochBatches(range(6), repeats=2, seed=1, batch_size=5)
        batches = TrainingBatches(SampleMaker(data, "view"), order, 2, 1, is_online, num_workers=num_workers)
        found = []
        for epoch, first_batch in ((0, 1), (1, 0)):
            order.epoch, order.first_batch = epoch, first_batch
            found += [[part.numpy().tobytes() for part in batch] for batch in batches]
        return found

    alone = samples(0)
    assert len(alone) == 2 + 3
    assert samples(2) == alone


def test_evaluation_sees_the_first_views_of_its_orders(tiny_store):
    data = ProteinData(tiny_store, 32)
    orders = {"body04": np.array([0, 2, 1]), "body01": np.array([3, 1, 0])}
    (batch,) = evaluation_batches(SampleMaker(data), orders, [4, 1], 2, 8, CPU)
    assert batch.protein.tolist() == [4, 1]
    np.testing.assert_array_equal(batch.images[1, :, 0].numpy(), data.images(1, np.array([3, 1])))
    np.testing.assert_array_equal(batch.occupancy.numpy(), data.occupancy[[4, 1]])


def test_in_the_frame_of_a_view_a_target_turns_with_the_first_view_of_its_sample(tiny_store):
    data = ProteinData(tiny_store, 32)
    maker = SampleMaker(data, "view")
    shares = body_shares(data.occupancy_fine(3), TARGET_SIZE)
    expected = [turned_target(shares, rotation, TARGET_SIZE) for rotation in data.view_rotations[3]]
    assert len({target.tobytes() for target in expected}) == 5
    (batch,) = evaluation_batches(maker, {"body03": np.array([2, 0, 4])}, [3], 2, 8, CPU)
    np.testing.assert_array_equal(batch.occupancy[0].numpy(), expected[2])
    np.testing.assert_array_equal(maker.target(3, 2), expected[2])
    order = EpochBatches([3], repeats=8, seed=7, batch_size=8)
    (batch,) = TrainingBatches(maker, order, num_views=3, seed=7)
    first_views = {training_views(7, 0, "body03", repeat, 5, 3)[0] for repeat in range(8)}
    assert {target.numpy().tobytes() for target in batch.occupancy} == {
        expected[view].tobytes() for view in first_views
    }


def test_in_the_principal_axes_a_target_is_the_same_for_all_views(tiny_store):
    data = ProteinData(tiny_store, 32)
    maker = SampleMaker(data, "inertia")
    shares = body_shares(data.occupancy_fine(3), TARGET_SIZE)
    expected = turned_target(shares, principal_rotation(shares), TARGET_SIZE)
    assert not np.array_equal(expected, data.occupancy[3])
    (batch,) = TrainingBatches(maker, EpochBatches([3], repeats=4, seed=7, batch_size=4), num_views=2, seed=7)
    for target in (*batch.occupancy.numpy(), maker.target(3, 0), maker.target(3, 1)):
        np.testing.assert_array_equal(target, expected)
