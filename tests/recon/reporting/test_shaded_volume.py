import numpy as np
import pytest

from recon.reporting.shaded_volume import PIXELS_PER_VOXEL, seen_from_front, seen_from_top, shaded_picture

SIZE = 32
WHITE = (1.0, 1.0, 1.0)


def ball(radius: float) -> np.ndarray:
    z, y, x = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
    return (z**2 + y**2 + x**2 <= radius**2).astype(np.uint8)


def test_from_top_x_points_right_y_points_up_and_high_z_is_near():
    volume = np.zeros((4, 5, 6))
    volume[3, 4, 5] = 1  # highest z, y and x
    assert seen_from_top(volume)[0, 0, 5] == 1


def test_from_front_x_points_right_z_points_up_and_low_y_is_near():
    volume = np.zeros((4, 5, 6))
    volume[3, 0, 5] = 1
    assert seen_from_front(volume)[0, 0, 5] == 1


@pytest.mark.parametrize("seen", [seen_from_top, seen_from_front])
def test_both_views_keep_the_hand(seen):
    # Depth grows away from the viewer and rows grow downwards: a view that keeps the hand turns the axes by +1.
    axes_xyz = np.zeros((3, 3))
    for axis in range(3):
        volume = np.zeros((3, 3, 3))
        index_zyx = [1, 1, 1]
        index_zyx[2 - axis] = 2
        volume[tuple(index_zyx)] = 1
        depth, row, col = (int(place[0]) - 1 for place in np.nonzero(seen(volume)))
        axes_xyz[axis] = [col, -row, -depth]  # right, up, towards the viewer
    assert np.linalg.det(axes_xyz) == pytest.approx(1)


def test_a_ball_covers_the_area_of_its_circle():
    picture = shaded_picture(ball(12), WHITE)
    assert picture.shape == (PIXELS_PER_VOXEL * SIZE, PIXELS_PER_VOXEL * SIZE, 4)
    assert picture[..., 3].sum() / PIXELS_PER_VOXEL**2 == pytest.approx(np.pi * 12**2, rel=0.03)


def test_a_ball_is_lit_from_the_upper_left():
    picture = shaded_picture(ball(12), WHITE)[..., 0]
    middle, offset = PIXELS_PER_VOXEL * SIZE // 2, 6 * PIXELS_PER_VOXEL
    assert picture[middle - offset, middle - offset] > 1.5 * picture[middle + offset, middle + offset]


def test_a_nearer_face_is_brighter():
    near, far = np.zeros((2, SIZE, SIZE, SIZE), np.uint8)
    near[2:6, 8:24, 8:24] = 1
    far[26:30, 8:24, 8:24] = 1
    middle = PIXELS_PER_VOXEL * SIZE // 2
    assert shaded_picture(near, WHITE)[middle, middle, 0] > 1.3 * shaded_picture(far, WHITE)[middle, middle, 0]


def test_a_body_at_the_border_is_drawn_to_its_edge():
    assert shaded_picture(np.ones((SIZE,) * 3, np.uint8), WHITE)[..., 3].mean() > 0.95


def test_an_empty_body_is_all_transparent():
    assert shaded_picture(np.zeros((SIZE,) * 3), WHITE)[..., 3].max() == 0
