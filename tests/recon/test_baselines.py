import numpy as np

from recon.baselines import best_ball, mean_training_shape
from recon.metrics import iou_per_protein


def test_the_mean_shape_says_how_often_a_voxel_is_occupied():
    bodies = np.zeros((4, 2, 2, 2), np.uint8)
    bodies[:3, 0] = 1
    bodies[0, 1] = 1
    mean = mean_training_shape(bodies)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, [[[0.75, 0.75]] * 2, [[0.25, 0.25]] * 2])


def test_the_mean_of_hundreds_of_bodies_does_not_overflow_their_bytes():
    assert np.all(mean_training_shape(np.ones((1000, 2, 2, 2), np.uint8)) == 1)


def ball(radius_voxels, size=16):
    axis = np.arange(size) - (size - 1) / 2
    squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return (squares <= radius_voxels**2).astype(np.uint8)


def test_of_equal_balls_the_best_ball_is_the_ball():
    np.testing.assert_array_equal(best_ball(np.stack([ball(5.5)] * 3)), ball(5.5))


def test_no_ball_is_better_than_the_best_ball():
    bodies = np.stack([ball(4), ball(7), np.roll(ball(5), 3, axis=0)])
    best = best_ball(bodies)

    def mean_iou(shape):
        return iou_per_protein(np.broadcast_to(shape, bodies.shape), bodies, 0.5).mean()

    assert mean_iou(best) == max(mean_iou(ball(half / 2)) for half in range(1, 29))
