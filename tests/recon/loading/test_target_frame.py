from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from afmsim.dataset import open_dataset
from afmsim.voxelize import downsample_majority
from recon.loading.samples import SampleMaker
from recon.loading.target_frame import body_shares, principal_rotation, turned_target, turned_targets
from recon.loading.training_data import ProteinData
from recon.shapes.volume_frame import VolumeFrame, occupancy_in_frame
from tests.helpers.height_views import real_body
from tests.helpers.shape_store import IMAGE_SIZE, TARGET_SIZE, write_shape_store

SIZE, FINE_SIZE = 16, 64
QUARTER_TURNS = [
    np.array(matrix)
    for matrix in product(*[[row for sign in (1, -1) for row in (np.eye(3, dtype=int) * sign).tolist()]] * 3)
    if round(np.linalg.det(matrix)) == 1
]


def balls(rotation: np.ndarray) -> np.ndarray:
    """A body without any symmetry, turned as a whole: uint8 (z, y, x)."""
    centers = np.array([[14, 0, 0], [-9, 6, 0], [-4, -9, 3], [0, 0, -8]]) @ rotation.T
    axis = np.arange(FINE_SIZE) - (FINE_SIZE - 1) / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    body = np.zeros((FINE_SIZE,) * 3, dtype=np.uint8)
    for (center_x, center_y, center_z), radius in zip(centers, (8, 11, 7, 9), strict=True):
        body |= (x - center_x) ** 2 + (y - center_y) ** 2 + (z - center_z) ** 2 <= radius**2
    return body


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return np.logical_and(first, second).sum() / np.logical_or(first, second).sum()


def in_principal_axes(body: np.ndarray) -> np.ndarray:
    shares = body_shares(body, SIZE)
    return turned_target(shares, principal_rotation(shares), SIZE)


@pytest.mark.parametrize(("grid_size", "target_size"), [(64, 32), (64, 16), (128, 32), (96, 16)])
def test_turned_by_nothing_it_is_the_stored_target_ties_included(grid_size, target_size):
    fine = np.random.default_rng(0).integers(0, 2, (grid_size // 2,) * 3, dtype=np.uint8)
    fine = fine.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    target = turned_target(body_shares(fine, target_size), np.eye(3), target_size)
    np.testing.assert_array_equal(target, downsample_majority(fine, target_size))


@pytest.mark.parametrize(
    ("axis", "lands"),
    [
        # A box of x 2..5, y 6..13, z 1..9 (ends not included) in 16 voxels, as (z, y, x).
        ("x", ((6, 13), (7, 15), (2, 5))),  # y becomes z, z becomes -y
        ("y", ((11, 14), (6, 13), (1, 9))),  # z becomes x, x becomes -z
        ("z", ((1, 9), (2, 5), (3, 10))),  # x becomes y, y becomes -x
    ],
)
def test_an_off_centre_box_lands_where_a_quarter_turn_takes_it(axis, lands):
    box, expected = np.zeros((2, SIZE, SIZE, SIZE), dtype=np.uint8)
    box[1:9, 6:13, 2:5] = 1
    expected[tuple(slice(*ends) for ends in lands)] = 1
    fine = box.repeat(4, axis=0).repeat(4, axis=1).repeat(4, axis=2)
    rotation = Rotation.from_euler(axis, 90, degrees=True).as_matrix()
    np.testing.assert_array_equal(turned_target(body_shares(fine, SIZE), rotation, SIZE), expected)


def test_a_body_turned_by_any_angle_is_the_body_that_was_built_turned():
    for rotation in Rotation.random(5, random_state=0).as_matrix():
        expected, shares = downsample_majority(balls(rotation), SIZE), body_shares(balls(np.eye(3)), SIZE)
        assert iou(turned_target(shares, rotation, SIZE), expected) > 0.93
        assert iou(turned_target(shares, rotation.T, SIZE), expected) < 0.8


def test_a_real_body_turned_is_that_of_the_fine_grid():
    body, _ = real_body("1lmb")
    for rotation in Rotation.random(3, random_state=1).as_matrix():
        whole_grid = VolumeFrame((0, 0, 0), 96)
        expected = occupancy_in_frame(body, 1, rotation, np.zeros(3), whole_grid, 32)
        assert iou(turned_target(body_shares(body, 32), rotation, 32), expected) > 0.97


def test_a_batch_on_any_device_is_turned_alike():
    rotations = Rotation.random(4, random_state=2).as_matrix().astype(np.float32)
    shares = np.stack([body_shares(balls(rotation), SIZE) for rotation in rotations])
    expected = np.stack([turned_target(*one, SIZE) for one in zip(shares, rotations, strict=True)])
    found = turned_targets(torch.from_numpy(shares), torch.from_numpy(rotations), SIZE).numpy()
    assert np.count_nonzero(found != expected) <= 2  # voxels that are half full


@pytest.mark.gpu
def test_a_batch_on_a_gpu_is_turned_alike():
    rotations = torch.from_numpy(Rotation.random(4, random_state=2).as_matrix().astype(np.float32))
    shares = torch.from_numpy(np.stack([body_shares(balls(np.eye(3)), SIZE)] * 4))
    found = turned_targets(shares.cuda(), rotations.cuda(), SIZE).cpu()
    assert torch.count_nonzero(found != turned_targets(shares, rotations, SIZE)) <= 2


def test_principal_axes_are_a_rotation_with_the_longest_first():
    for rotation in Rotation.random(5, random_state=3).as_matrix():
        shares = body_shares(balls(rotation), SIZE)
        axes = principal_rotation(shares)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
        points = np.argwhere(turned_target(shares, axes, SIZE))
        assert np.argsort(points.std(axis=0)).tolist() == [0, 1, 2]  # z, y, x


def test_a_body_has_one_target_in_its_principal_axes_however_it_is_turned():
    expected = in_principal_axes(balls(np.eye(3)))
    assert len(QUARTER_TURNS) == 24
    for rotation in QUARTER_TURNS:
        np.testing.assert_array_equal(in_principal_axes(balls(rotation)), expected)
    for rotation in Rotation.random(10, random_state=4).as_matrix():
        assert iou(in_principal_axes(balls(rotation)), expected) > 0.95


def test_a_mirror_image_stays_one_in_its_principal_axes():
    body = balls(np.eye(3))
    assert iou(in_principal_axes(body[:, :, ::-1]), in_principal_axes(body)) < 0.9


@pytest.fixture(scope="module")
def shape_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape_store(tmp_path_factory.mktemp("shape") / "shape.zarr", ("1lmb", "1acb"), num_views=3)


def top_heights_nm(target: np.ndarray, voxel_size_nm: float) -> np.ndarray:
    """Height of the highest occupied voxel's upper face above the lowest one's lower face, (y, x); 0 where none."""
    z = np.flatnonzero(target.any(axis=(1, 2)))
    top = np.where(target.any(axis=0), len(target) - target[::-1].argmax(axis=0) - z[0], 0)
    return top * voxel_size_nm


@pytest.mark.parametrize("protein", [0, 1])
@pytest.mark.parametrize("view", [0, 1, 2])
def test_the_turned_target_is_what_its_view_sees_from_above(shape_store, protein, view):
    data, store = ProteinData(shape_store, IMAGE_SIZE), open_dataset(shape_store)
    voxel_size_nm = data.target_voxel_size_nm[protein]
    seen_nm = top_heights_nm(SampleMaker(data, "view").target(protein, view), voxel_size_nm)  # (y, x)
    heights_nm = store.heights_nm(protein, [view])[0]
    pixel_size_nm = data.field_of_view_nm[protein] / IMAGE_SIZE
    position_nm = (np.arange(TARGET_SIZE) - (TARGET_SIZE - 1) / 2) * voxel_size_nm
    col = np.rint(position_nm / pixel_size_nm + (IMAGE_SIZE - 1) / 2).astype(int)
    row = np.rint((IMAGE_SIZE - 1) / 2 - position_nm / pixel_size_nm).astype(int)

    def difference(rotation_of_image: int, is_mirrored: bool) -> float:
        image = np.rot90(heights_nm, rotation_of_image)
        image = image[:, ::-1] if is_mirrored else image
        return np.abs(image[np.ix_(row, col)] - seen_nm).mean() / voxel_size_nm

    others = [difference(turns, mirrored) for turns in range(4) for mirrored in (False, True)][1:]
    assert difference(0, False) < 1
    assert difference(0, False) < 0.5 * min(others)
