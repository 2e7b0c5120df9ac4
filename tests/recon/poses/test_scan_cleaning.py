"""Noise on height maps and what is left of it."""

import numpy as np
import pytest

from recon.poses.scan_cleaning import clean_views
from recon.register import register
from tests.helpers.height_views import sphere_heights


def test_without_noise_nothing_changes() -> None:
    heights_nm = sphere_heights(3.0, 64, 0.15)[None]
    clean = clean_views(heights_nm, 0.15, 0.0)
    assert clean.heights_nm is heights_nm
    assert (clean.pixel_size_nm, clean.height_error_nm) == (0.15, 0.0)


@pytest.mark.parametrize("image_size", [100, 101])
def test_a_noisy_sphere_keeps_its_outline_and_height(image_size: int) -> None:
    heights_nm = sphere_heights(3.0, image_size, 0.1)[None]
    noise_nm = np.random.default_rng(1).normal(0, 0.3, heights_nm.shape)
    clean = clean_views(heights_nm + noise_nm, 0.1, 0.3)
    area_nm2 = (clean.heights_nm > 0).sum() * clean.pixel_size_nm**2
    assert area_nm2 == pytest.approx(np.pi * 3.0**2, rel=0.05)
    truth_nm = sphere_heights(3.0, clean.heights_nm.shape[1], clean.pixel_size_nm)
    top = truth_nm > 4
    assert np.abs(clean.heights_nm[0] - truth_nm)[top].std() < 0.1
    assert clean.height_error_nm < 0.15


def test_an_image_of_noise_alone_shows_nothing() -> None:
    noise_nm = np.random.default_rng(2).normal(0, 0.3, (1, 64, 64))
    clean = clean_views(noise_nm, 0.1, 0.3)
    assert (clean.heights_nm > 0).mean() < 0.01
    with pytest.raises(ValueError, match="shows nothing"):
        register(np.zeros((1, 32, 32)), 0.2)
