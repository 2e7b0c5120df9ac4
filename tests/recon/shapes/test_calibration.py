import numpy as np
import pytest

from recon.shapes.calibration import NUM_BINS, calibration_bins, calibration_error, calibration_sums


def test_a_probability_that_means_what_it_says_has_no_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0, 1, (64, 64, 64))
    truth = rng.uniform(0, 1, probability.shape) < probability
    sums = calibration_sums(probability, truth)
    assert calibration_error(sums) < 0.01
    assert all(one.true_share == pytest.approx(one.mean_probability, abs=0.02) for one in calibration_bins(sums))


def test_the_error_is_the_mean_gap_weighted_by_voxels():
    probability = np.array([[[0.05, 0.05, 0.05, 1.0]]])
    truth = np.array([[[0, 0, 1, 0]]])
    sums = calibration_sums(probability, truth)
    assert calibration_error(sums) == pytest.approx((3 * abs(0.05 - 1 / 3) + 1 * 1.0) / 4)
    bins = calibration_bins(sums)
    assert [one.num_voxels for one in bins] == [3] + [0] * (NUM_BINS - 2) + [1]
    assert np.isnan(bins[4].mean_probability)


def test_sums_over_proteins_are_those_of_all_their_voxels():
    rng = np.random.default_rng(1)
    probability = rng.uniform(0, 1, (2, 8, 8, 8)).astype(np.float32)
    truth = rng.integers(0, 2, probability.shape)
    apart = sum(calibration_sums(*one) for one in zip(probability, truth, strict=True))
    np.testing.assert_allclose(apart, calibration_sums(probability, truth), rtol=1e-12)
