import numpy as np
import pytest

from recon.metrics import THRESHOLDS, choose_threshold, iou_at_thresholds, iou_per_protein


def box(z_start: int, z_stop: int) -> np.ndarray:
    body = np.zeros((8, 8, 8), np.uint8)
    body[z_start:z_stop] = 1
    return body


def test_iou_of_overlapping_boxes_is_the_ratio_of_their_volumes():
    # 4 layers each, 2 in common: 2 / 6; the same box: 1; apart: 0.
    predicted = np.stack([box(0, 4), box(0, 4), box(0, 4)]).astype(np.float32)
    truth = np.stack([box(2, 6), box(0, 4), box(4, 8)])
    np.testing.assert_allclose(iou_per_protein(predicted, truth, 0.5), [1 / 3, 1, 0])


def test_two_empty_bodies_are_equal():
    assert iou_per_protein(np.zeros((1, 8, 8, 8)), np.zeros((1, 8, 8, 8)), 0.5)[0] == 1


def test_iou_agrees_with_sets_of_voxels():
    rng = np.random.default_rng(0)
    probability, truth = rng.random((3, 6, 6, 6)), rng.random((3, 6, 6, 6)) < 0.3
    for row, threshold in zip(iou_at_thresholds(probability, truth), THRESHOLDS, strict=True):
        for iou, body, true_body in zip(row, probability, truth, strict=True):
            predicted_set = set(np.flatnonzero(body >= threshold).tolist())
            true_set = set(np.flatnonzero(true_body).tolist())
            assert iou == pytest.approx(len(predicted_set & true_set) / len(predicted_set | true_set))


def test_a_voxel_that_reaches_the_threshold_is_occupied():
    assert iou_per_protein(np.full((1, 2, 2, 2), 0.5), np.ones((1, 2, 2, 2)), 0.5)[0] == 1


def test_the_chosen_threshold_is_the_best_one_of_the_training_proteins():
    # Right below and up to 0.7, wrong above: every threshold in (0.4, 0.7] is perfect, of which 0.55 is the middle.
    truth = np.stack([box(0, 4)])
    probability = np.where(truth > 0, 0.7, 0.4)
    assert THRESHOLDS[choose_threshold(iou_at_thresholds(probability, truth))] == pytest.approx(0.6, abs=0.051)


def test_the_mean_decides_on_the_threshold():
    training_iou = np.array([[0.9, 0.1], [0.6, 0.6], [0.1, 0.9]])
    assert choose_threshold(training_iou, np.array([0.3, 0.5, 0.7])) == 1
