"""What images under a tip prove, against closed forms."""

import numpy as np
import pytest

from afmsim.tip import Tip, scan
from recon.poses.tip_erosion import half_resolution, tip_images, upper_bound
from tests.helpers.height_views import sphere_heights

RADIUS_NM, PIXEL_NM, IMAGE_SIZE = 3.0, 0.1, 120


def test_erosion_gives_back_the_cap_of_a_ball_that_the_tip_touched() -> None:
    ball_nm = sphere_heights(RADIUS_NM, IMAGE_SIZE, PIXEL_NM)[None]
    tip = Tip(1.0, 10.0)
    upper_nm = upper_bound(scan(ball_nm, tip, PIXEL_NM), tip, PIXEL_NM)
    along = (np.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2) * PIXEL_NM
    distance_nm = np.hypot(along[:, None], along)
    # The cone is the tip's steepest part, so that it touches the ball where its slope is that of the cone.
    is_touched = distance_nm < RADIUS_NM * np.cos(np.deg2rad(10.0)) - 2 * PIXEL_NM
    assert np.abs(upper_nm - ball_nm)[0][is_touched].max() < 0.02
    assert (upper_nm >= ball_nm - 1e-5).all()
    assert (upper_nm[0][(distance_nm > RADIUS_NM) & (distance_nm < RADIUS_NM + 0.3)] > 0.5).all()


def test_beside_a_wall_the_bound_is_the_tip_itself() -> None:
    pixel_nm, wall_nm, tip = 0.05, 2.0, Tip(1.0, 20.0)
    height_nm = np.zeros((1, 81, 121), np.float32)
    height_nm[:, :, :31] = wall_nm
    upper_nm = upper_bound(scan(height_nm, tip, pixel_nm), tip, pixel_nm)[0, 40]
    distance_nm = np.arange(121) * pixel_nm - 30 * pixel_nm  # from the wall's last pixel
    # On the substrate the tip comes as near as its side allows: where it is as high as the wall.
    nearest_nm = distance_nm[np.argmax((distance_nm > 0) & (tip.height_nm(np.abs(distance_nm)) >= wall_nm))]
    beside = (distance_nm > 0) & (distance_nm < nearest_nm)
    expected_nm = tip.height_nm(nearest_nm - distance_nm[beside])
    np.testing.assert_allclose(upper_nm[beside], np.minimum(expected_nm, wall_nm), atol=0.15)
    np.testing.assert_allclose(upper_nm[(distance_nm > nearest_nm) & (distance_nm < 3)], 0, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_never_cuts_into_a_surface_and_scans_to_the_same_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height_nm = (rng.random((2, 30, 30)) ** 4 * 5).astype(np.float32)
    tip = Tip(float(rng.uniform(0, 2)), float(rng.uniform(5, 40)))
    image_nm = scan(height_nm, tip, 0.25)
    upper_nm = upper_bound(image_nm, tip, 0.25)
    assert (upper_nm >= height_nm - 1e-5).all()
    assert (upper_nm <= image_nm + 1e-5).all()
    np.testing.assert_allclose(scan(upper_nm, tip, 0.25), image_nm, atol=1e-4)


def test_noise_lowers_the_bound_of_a_ball_by_little() -> None:
    ball_nm = sphere_heights(RADIUS_NM, 240, PIXEL_NM / 2)[None]
    tip = Tip(1.0, 10.0)
    image_nm = scan(ball_nm, tip, PIXEL_NM / 2)
    noisy_nm = image_nm + np.random.default_rng(0).normal(0, 0.3, image_nm.shape)
    images = tip_images(half_resolution(noisy_nm), PIXEL_NM, tip, is_noisy=True)
    truth_nm = half_resolution(ball_nm)[0]
    top = truth_nm > 4
    assert np.abs(images.upper_nm[0] - truth_nm)[top].mean() < 0.15


def test_images_with_an_odd_number_of_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected even numbers"):
        half_resolution(np.zeros((1, 4, 5)))


def test_means_of_two_by_two_pixels() -> None:
    image = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal(half_resolution(image)[0], [[2.5, 4.5], [10.5, 12.5]])
