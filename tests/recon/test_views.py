import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.views import evaluation_order, shuffled_samples, training_views


@given(seed=st.integers(0, 9), epoch=st.integers(0, 300), repeat=st.integers(0, 3), num_views=st.integers(1, 25))
def test_a_sample_has_different_views_that_exist(seed, epoch, repeat, num_views):
    views = training_views(seed, epoch, "1a2k", repeat, 25, num_views)
    assert len(set(views.tolist())) == num_views
    assert views.min() >= 0
    assert views.max() < 25


def test_the_views_of_a_protein_change_with_epoch_repeat_protein_and_seed():
    drawn = [
        training_views(0, 0, "1a2k", 0, 25, 8),
        training_views(0, 1, "1a2k", 0, 25, 8),
        training_views(0, 0, "1a2k", 1, 25, 8),
        training_views(0, 0, "7ps4", 0, 25, 8),
        training_views(1, 0, "1a2k", 0, 25, 8),
    ]
    assert len({tuple(views) for views in drawn}) == len(drawn)


def test_all_views_are_drawn_equally_often():
    drawn = np.concatenate([training_views(0, epoch, "1a2k", 0, 25, 8) for epoch in range(2000)])
    counts = np.bincount(drawn, minlength=25)
    # Five standard deviations of a binomial distribution.
    assert np.abs(counts - 2000 * 8 / 25).max() < 5 * (2000 * 0.32 * 0.68) ** 0.5


def test_evaluation_views_are_the_same_in_every_process():
    # A literal, so that scores stay comparable from one version of this project to the next.
    order = evaluation_order(0, "1a2k", 25)
    np.testing.assert_array_equal(order[:5], EXPECTED_VIEWS)
    np.testing.assert_array_equal(np.sort(order), np.arange(25))


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own():
    first, second = shuffled_samples(0, 0, 40), shuffled_samples(0, 1, 40)
    np.testing.assert_array_equal(np.sort(first), np.arange(40))
    assert not np.array_equal(first, second)


def test_more_views_than_there_are_is_an_error_that_says_how_many_there_are():
    with pytest.raises(ValueError, match="got 30 views, expected 1 to 25"):
        training_views(0, 0, "1a2k", 0, 25, 30)


EXPECTED_VIEWS = [17, 21, 19, 23, 22]
