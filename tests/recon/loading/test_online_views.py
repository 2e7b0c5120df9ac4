from pathlib import Path

import numpy as np
import pytest
import torch

from recon.loading.online_views import OnlineViews, online_rotations
from recon.loading.samples import SampleMaker
from recon.loading.target_frame import body_shares, turned_target
from recon.loading.training_batches import EpochBatches, TrainingBatches
from recon.loading.training_data import ProteinData
from tests.helpers.shape_store import HEIGHT_STEP_NM, IMAGE_SIZE, write_shape_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["height", "density"])
def shape_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("online")
    return write_shape_store(folder / "shape.zarr", ("1lmb", "1acb"), num_views=3, rendering=request.param)


@pytest.mark.parametrize("input_size", [IMAGE_SIZE, 40])
@pytest.mark.parametrize("protein", [0, 1])
def test_an_online_view_in_the_orientation_of_a_stored_one_is_the_stored_one(shape_store, protein, input_size):
    data = ProteinData(shape_store, input_size)
    packed = torch.from_numpy(data.arrays["occupancy_fine"][protein])
    found = OnlineViews(data, CPU).images(protein, packed, data.view_rotations[protein]).numpy()
    stored = data.images(protein, np.arange(3))
    step = HEIGHT_STEP_NM / data.field_of_view_nm[protein]
    assert np.abs(found - stored).max() <= step
    # The store rounds sizes to float32, so that a height here and there falls to the other side of a step.
    assert np.mean(np.abs(found - stored) > 1e-6) < 0.01
    assert stored.max() > 100 * step


@pytest.mark.gpu
def test_a_gpu_renders_the_same(shape_store):
    data = ProteinData(shape_store, 40)
    packed = torch.from_numpy(data.arrays["occupancy_fine"][0])
    rotations = online_rotations(0, 0, "1lmb", 0, 4)
    on_cpu = OnlineViews(data, CPU).images(0, packed, rotations)
    on_gpu = OnlineViews(data, torch.device("cuda")).images(0, packed.cuda(), rotations)
    assert on_gpu.is_cuda
    step = HEIGHT_STEP_NM / data.field_of_view_nm[0]
    assert (on_gpu.cpu() - on_cpu).abs().max() <= step


def test_orientations_follow_from_seed_epoch_protein_and_repeat_and_never_come_again():
    keys = [(seed, epoch, name, repeat) for seed in (0, 1) for epoch in (0, 1) for name in "ab" for repeat in (0, 1)]
    drawn = [online_rotations(*key, 3) for key in keys]
    assert all(np.array_equal(first, online_rotations(*key, 3)) for first, key in zip(drawn, keys, strict=True))
    assert len({rotation.tobytes() for rotations in drawn for rotation in rotations}) == 3 * len(keys)
    rotations = np.concatenate(drawn).astype(np.float64)
    products = rotations @ rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-6)


def online_batches(data: ProteinData, epoch: int, rank: int = 0, num_ranks: int = 1) -> list:
    order = EpochBatches([0, 2, 5], 3, 4, 4, rank, num_ranks)
    order.epoch = epoch
    return list(TrainingBatches(SampleMaker(data, "view"), order, num_views=2, seed=4, is_online=True))


def test_every_epoch_and_repeat_has_other_views_and_two_ranks_see_those_of_one(tiny_store):
    data = ProteinData(tiny_store, 20)
    epochs = [online_batches(data, epoch) for epoch in (0, 1)]
    images = [image.numpy().tobytes() for epoch in epochs for batch in epoch for image in batch.images.flatten(0, 1)]
    assert len(images) == len(set(images)) == 2 * 9 * 2

    def contents(batches):
        return [
            {tuple(part.numpy().tobytes() for part in one) for one in zip(*batch, strict=True)} for batch in batches
        ]

    first, second = (contents(online_batches(data, 1, rank, 2)) for rank in (0, 1))
    alone = contents(epochs[1])
    assert [mine | others for mine, others in zip(first, second, strict=True)] == alone
    assert [len(batch) for batch in alone] == [4, 4, 1]


def test_a_target_turns_with_the_first_rendered_view(tiny_store):
    data = ProteinData(tiny_store, 32)
    order = EpochBatches([3], repeats=4, seed=7, batch_size=4)
    order.epoch = 2
    (batch,) = TrainingBatches(SampleMaker(data, "view"), order, num_views=3, seed=7, is_online=True)
    shares = body_shares(data.occupancy_fine(3), data.target_size)
    expected = set()
    for repeat in range(4):
        rotations = online_rotations(7, 2, "body03", repeat, 3)
        target = turned_target(shares, rotations[0], data.target_size)
        packed = torch.from_numpy(data.arrays["occupancy_fine"][3])
        expected.add((OnlineViews(data, CPU).images(3, packed, rotations).numpy().tobytes(), target.tobytes()))
    found = zip(batch.images.squeeze(2).numpy(), batch.occupancy.numpy(), strict=True)
    assert {(images.tobytes(), target.tobytes()) for images, target in found} == expected


def test_a_gpu_without_cupy_is_refused_before_anything_is_rendered(tiny_store, monkeypatch):
    monkeypatch.setattr("recon.loading.online_views.has_gpu", lambda: False)
    with pytest.raises(ValueError, match="expected CuPy with a GPU for --render-online"):
        OnlineViews(ProteinData(tiny_store, 32), torch.device("cuda"))
