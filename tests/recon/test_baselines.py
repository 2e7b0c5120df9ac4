import numpy as np

from recon.baselines import mean_training_shape


def test_the_mean_shape_says_how_often_a_voxel_is_occupied():
    bodies = np.zeros((4, 2, 2, 2), np.uint8)
    bodies[:3, 0] = 1
    bodies[0, 1] = 1
    mean = mean_training_shape(bodies)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, [[[0.75, 0.75]] * 2, [[0.25, 0.25]] * 2])


def test_the_mean_of_hundreds_of_bodies_does_not_overflow_their_bytes():
    assert np.all(mean_training_shape(np.ones((1000, 2, 2, 2), np.uint8)) == 1)
