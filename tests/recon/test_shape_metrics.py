"""Distances and overlaps of bodies with known answers."""

import numpy as np
import pytest
from scipy.ndimage import rotate

from recon.shape_metrics import aligned_overlap, overlap, surface_scores
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
