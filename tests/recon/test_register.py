"""Registration on planted poses of real complexes, on strangers and on a symmetric body."""

import numpy as np
import pytest

from recon.carve import carve
from recon.poses.pose_error import pose_errors_deg
from recon.poses.true_poses import relative_to_first
from recon.register import register
from recon.shapes.volume_frame import frame_of_view, occupancy_in_frame
from tests.helpers.height_views import PlantedViews, planted_views, real_body, ring_body

COMPLEXES = [
    "1a2y", "1acb", "1ake", "1b5f", "1bui", "1cs4", "1h2t", "1hvr", "1igc", "1jiw",
    "1kjy", "1lmb", "1oo0", "1tx4", "1v74", "2p1q", "2trc", "3aa7", "3bh7", "3g83",
]  # fmt: skip
NUM_VIEWS = 4
TARGET_SIZE = 32


def true_poses_of(planted: PlantedViews) -> tuple[np.ndarray, np.ndarray]:
    """Poses first view -> view; the substrate touches the lowest voxel."""
    points = np.argwhere(planted.body)[:, ::-1] - (len(planted.body) - 1) / 2
    lowest = (planted.rotations[:, 2] @ points.T).min(axis=1) - 0.4
    offsets_nm = planted.offsets_nm.copy()
    offsets_nm[:, 2] = -lowest * planted.voxel_size_nm
    return planted.rotations, offsets_nm


def truth_in_first_view(planted: PlantedViews) -> np.ndarray:
    rotations, offsets_nm = true_poses_of(planted)
    frame = frame_of_view(planted.heights_nm[0], planted.pixel_size_nm)
    return occupancy_in_frame(planted.body, planted.voxel_size_nm, rotations[0], offsets_nm[0], frame, TARGET_SIZE)


def carved_iou(planted: PlantedViews, rotations: np.ndarray, offsets_nm: np.ndarray) -> float:
    frame = frame_of_view(planted.heights_nm[0], planted.pixel_size_nm)
    body = carve(planted.heights_nm, planted.pixel_size_nm, rotations, offsets_nm, frame, TARGET_SIZE).occupancy
    truth = truth_in_first_view(planted)
    return np.count_nonzero(body & truth) / np.count_nonzero(body | truth)


@pytest.mark.parametrize("name", COMPLEXES)
def test_planted_rotations_and_offsets_are_found(name: str) -> None:
    planted = planted_views(*real_body(name), NUM_VIEWS)
    found = register(planted.heights_nm, planted.pixel_size_nm)
    rotations, offsets_nm = relative_to_first(*true_poses_of(planted))
    assert pose_errors_deg(found.rotations, rotations, truth_in_first_view(planted)).max() < 5
    assert found.is_accepted.all()
    assert carved_iou(planted, found.rotations, found.offsets_nm) > carved_iou(planted, rotations, offsets_nm) - 0.03


@pytest.mark.parametrize(("first", "second"), [("1kjy", "2trc"), ("1lmb", "1oo0"), ("1acb", "1b5f")])
def test_views_of_two_complexes_get_no_confidence(first: str, second: str) -> None:
    own = planted_views(*real_body(first), 2)
    other = planted_views(*real_body(second), 2)
    # Both as large as the first, so that their size tells nothing.
    scaled = other.heights_nm[:1] * own.pixel_size_nm / other.pixel_size_nm
    mixed = register(np.concatenate([own.heights_nm[:1], scaled]), own.pixel_size_nm)
    assert mixed.confidence[1] == 0
    assert not mixed.is_accepted[1]


def test_a_stranger_among_views_is_rejected_and_the_others_are_not() -> None:
    own = planted_views(*real_body("1kjy"), 4)
    other = planted_views(*real_body("2trc"), 1)
    stranger = other.heights_nm * own.pixel_size_nm / other.pixel_size_nm
    heights_nm = np.concatenate([own.heights_nm[:2], stranger, own.heights_nm[2:]])
    found = register(heights_nm, own.pixel_size_nm)
    assert found.is_accepted.tolist() == [True, True, False, True, True]
    rotations, _ = relative_to_first(*true_poses_of(own))
    kept = found.rotations[[0, 1, 3, 4]]
    assert pose_errors_deg(kept, rotations, truth_in_first_view(own)).max() < 5


def test_any_of_the_equivalent_answers_is_right_for_a_ring() -> None:
    planted = planted_views(ring_body(), 0.2, 5, seed=5)
    found = register(planted.heights_nm, planted.pixel_size_nm)
    rotations, offsets_nm = relative_to_first(*true_poses_of(planted))
    assert pose_errors_deg(found.rotations, rotations, truth_in_first_view(planted)).max() < 5
    assert carved_iou(planted, found.rotations, found.offsets_nm) > carved_iou(planted, rotations, offsets_nm) - 0.03


def test_a_sixth_of_a_turn_is_no_error_of_a_ring_and_a_tenth_is() -> None:
    from scipy.spatial.transform import Rotation

    ring = ring_body(size=32)
    steps = Rotation.from_euler("z", [[0], [60], [36]], degrees=True).as_matrix()
    errors_deg = pose_errors_deg(steps, np.stack([np.eye(3)] * 3), ring)
    assert errors_deg[0] < 2
    assert errors_deg[1] > 20


def test_one_view_is_its_own_frame() -> None:
    planted = planted_views(*real_body("2trc"), 1)
    found = register(planted.heights_nm, planted.pixel_size_nm)
    assert np.allclose(found.rotations, np.eye(3))
    assert np.allclose(found.offsets_nm, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("heights_nm", "message"),
    [
        (np.ones((2, 8, 9)), "expected square images"),
        (np.stack([np.ones((8, 8)), np.zeros((8, 8))]), "view 1 shows nothing"),
    ],
)
def test_bad_images_are_refused_in_a_sentence(heights_nm: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(heights_nm, 0.1)
