"""Carving against closed forms, and the truth that it is compared with."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.carve import carve, depth_below
from recon.shapes.volume_frame import VolumeFrame, frame_of_view, occupancy_in_frame
from tests.helpers.height_views import planted_views, real_body, ring_body, sphere_heights

RADIUS_NM = 4.0
PIXEL_NM = 0.1
SIZE = 32


def sphere_views(num_views: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, VolumeFrame]:
    """Views of a sphere from above and from below."""
    heights = np.stack([sphere_heights(RADIUS_NM, 100, PIXEL_NM)] * num_views)
    flip = np.diag([1.0, -1.0, -1.0])
    rotations = np.stack([np.eye(3), flip][:num_views])
    offsets = np.array([[0, 0, 0], [0, 0, 2 * RADIUS_NM]], dtype=float)[:num_views]
    return heights, rotations, offsets, frame_of_view(heights[0], PIXEL_NM)


@pytest.mark.parametrize(
    ("num_views", "volume_nm3"),
    [(1, np.pi * RADIUS_NM**3 * (1 + 2 / 3)), (2, 4 / 3 * np.pi * RADIUS_NM**3)],
)
def test_carved_sphere_has_the_volume_of_the_closed_form(num_views: int, volume_nm3: float) -> None:
    heights, rotations, offsets, frame = sphere_views(num_views)
    carved = carve(heights, PIXEL_NM, rotations, offsets, frame, SIZE)
    assert carved.share.sum() * frame.voxel_size_nm(SIZE) ** 3 == pytest.approx(volume_nm3, rel=0.01)


def test_every_voxel_is_empty_surface_or_unseen() -> None:
    carved = carve(*_arguments(2), SIZE)
    parts = carved.is_empty.astype(int) + carved.is_surface + carved.is_unseen
    assert (parts == 1).all()
    middle = SIZE // 2
    assert carved.is_unseen[middle, middle, middle]
    assert carved.is_empty[0, 0, 0]
    # In each column of the disc, both surfaces mark the half voxel below them.
    assert carved.is_surface.sum() == pytest.approx(np.pi * (RADIUS_NM / (10 / SIZE)) ** 2, rel=0.2)


def test_depths_of_the_centre_are_those_of_the_sphere() -> None:
    carved = carve(*_arguments(2), SIZE)
    centre_column = carved.least_depth[:, SIZE // 2, SIZE // 2]
    z = (np.arange(SIZE) - (SIZE - 1) / 2) * 10 / SIZE
    half = 0.5 * 10 / SIZE
    expected = np.sqrt(RADIUS_NM**2 - 2 * half**2) - np.abs(z)
    assert np.allclose(centre_column, np.clip(expected / (10 / SIZE), -4, 4), atol=0.1)


def test_an_allowance_keeps_what_lies_just_above_a_surface() -> None:
    heights, rotations, offsets, frame = sphere_views(1)
    tight = carve(heights, PIXEL_NM, rotations, offsets, frame, SIZE)
    loose = carve(heights, PIXEL_NM, rotations, offsets, frame, SIZE, allowance_nm=0.5)
    assert (loose.share >= tight.share).all()
    assert loose.share.sum() > tight.share.sum()


def test_heights_are_read_between_pixels() -> None:
    height = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert depth_below(height, 1.0, 0.0, 0.0, 1.0) == pytest.approx(1.0)  # 2.5 - 1 above, 1 above the substrate
    assert depth_below(height, 1.0, 0.25, 0.25, 2.0) == pytest.approx(2.25 - 2.0)
    assert depth_below(height, 1.0, 9.0, 0.0, 2.0) == pytest.approx(-2.0)


def test_a_body_in_its_own_frame_is_the_body() -> None:
    body = ring_body(size=64)
    frame = VolumeFrame((0.0, 0.0, 0.0), 64 * 0.2)
    assert (occupancy_in_frame(body, 0.2, np.eye(3), np.zeros(3), frame, 64) == body).all()


def test_a_quarter_turn_of_the_truth_is_exact() -> None:
    body, voxel_size_nm = real_body("2trc")
    frame = VolumeFrame((0.0, 0.0, 0.0), len(body) * voxel_size_nm)
    quarter = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    turned = occupancy_in_frame(body, voxel_size_nm, quarter, np.zeros(3), frame, len(body))
    assert (turned == np.rot90(body, -1, axes=(1, 2))[:, ::1]).mean() > 0.9999


def test_many_views_of_a_real_complex_carve_to_its_shape() -> None:
    body, voxel_size_nm = real_body("2trc")
    planted = planted_views(body, voxel_size_nm, 12, image_size=128)
    points = np.argwhere(body)[:, ::-1] - (len(body) - 1) / 2
    lowest = (planted.rotations[:, 2] @ points.T).min(axis=1) - 0.4
    offsets_nm = planted.offsets_nm + np.array([0, 0, -voxel_size_nm]) * lowest[:, None]
    frame = frame_of_view(planted.heights_nm[0], planted.pixel_size_nm)
    truth = occupancy_in_frame(body, voxel_size_nm, planted.rotations[0], offsets_nm[0], frame, SIZE)
    rotations = planted.rotations @ planted.rotations[0].T
    offsets_nm = offsets_nm - rotations @ offsets_nm[0]
    carved = carve(planted.heights_nm, planted.pixel_size_nm, rotations, offsets_nm, frame, SIZE).occupancy
    assert np.count_nonzero(carved & truth) / np.count_nonzero(carved | truth) > 0.9


def _arguments(num_views: int) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, VolumeFrame]:
    heights, rotations, offsets, frame = sphere_views(num_views)
    return heights, PIXEL_NM, rotations, offsets, frame
