"""Distances and overlaps of bodies with known answers."""

import numpy as np
import pytest
from scipy.ndimage import rotate

from recon.shapes.shape_metrics import aligned_overlap, overlap, surface_scores
from tests.helpers.height_views import real_body


def box(low: int, high: int) -> np.ndarray:
    body = np.zeros((24, 24, 24), np.uint8)
    body[6:18, 6:18, low:high] = 1
    return body


def test_overlap_of_shifted_boxes_is_the_closed_form() -> None:
    assert overlap(box(4, 12), box(8, 16)) == pytest.approx(4 / 12)
    assert overlap(box(4, 4), box(4, 4)) == 1
    assert overlap(box(4, 8), box(4, 4)) == 0


def test_equal_bodies_have_no_distance() -> None:
    scores = surface_scores(box(4, 12), box(4, 12), 0.5)
    assert (scores.chamfer_nm, scores.f_score) == (0, 1)


def test_distance_of_two_parallel_plates_is_their_gap() -> None:
    scores = surface_scores(box(4, 5), box(9, 10), 0.4)
    assert scores.chamfer_nm == pytest.approx(5 * 0.4)
    assert scores.f_score == 0


def test_an_empty_prediction_is_infinitely_far() -> None:
    assert surface_scores(box(4, 4), box(4, 8), 1.0).chamfer_nm == np.inf


@pytest.mark.parametrize("angle_deg", [0, 40, 170])
def test_alignment_undoes_a_turn_and_a_shift(angle_deg: float) -> None:
    body, _ = real_body("2trc")
    coarse = body.reshape(32, 3, 32, 3, 32, 3).mean(axis=(1, 3, 5))
    truth = coarse >= 0.5
    turned = np.roll(rotate(coarse, angle_deg, axes=(1, 2), reshape=False, order=1), 2, axis=0) >= 0.5
    assert aligned_overlap(turned, truth) > 0.8
    assert angle_deg == 0 or aligned_overlap(turned, truth) > overlap(turned, truth) + 0.2


def test_alignment_never_mirrors() -> None:
    body, _ = real_body("2trc")
    truth = body.reshape(32, 3, 32, 3, 32, 3).mean(axis=(1, 3, 5)) >= 0.5
    assert aligned_overlap(truth[:, :, ::-1], truth) < 0.75


def test_the_mirror_image_of_a_body_with_a_hand_does_not_fit():
    body = np.zeros((20, 20, 20), np.uint8)
    # Four arms of different length in three directions: no rotation brings its mirror image back.
    body[9:12, 9:12, 3:18] = body[9:12, 3:10, 3:6] = body[11:18, 9:12, 15:18] = 1
    mirrored = body[:, :, ::-1]
    assert aligned_overlap(body, body) == 1
    assert aligned_overlap(mirrored, body) < 0.9
    symmetric = np.zeros_like(body)
    symmetric[5:15, 8:12, 6:14] = 1
    assert aligned_overlap(symmetric[:, :, ::-1], symmetric) > 0.97
