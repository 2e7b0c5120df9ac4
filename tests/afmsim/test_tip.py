"""The tip against closed forms and against SciPy's grey dilation."""

import numpy
import pytest
from scipy.ndimage import grey_dilation

from afmsim.tip import Tip, scan


def cap_nm(radius_nm, pixel_size_nm, image_size):
    """A sphere on the substrate seen from above, (view, row, col) with one view."""
    along = (numpy.arange(image_size) - image_size // 2) * pixel_size_nm
    distance_nm = numpy.hypot(along[:, None], along)
    rest = radius_nm**2 - distance_nm**2
    return numpy.where(rest > 0, radius_nm + numpy.sqrt(numpy.maximum(rest, 0)), 0)[None].astype(numpy.float32)


def test_a_sphere_under_a_sphere_is_a_larger_sphere():
    radius_nm, tip_nm, pixel_size_nm = 3.0, 2.0, 0.05
    image_nm = scan(cap_nm(radius_nm, pixel_size_nm, 241), Tip(tip_nm, 1.0), pixel_size_nm)[0]
    along = (numpy.arange(241) - 120) * pixel_size_nm
    distance_nm = numpy.hypot(along[:, None], along)
    # The tip's centre stays at the sum of the radii from the sphere's centre; the apex is its radius below.
    expected = radius_nm + numpy.sqrt((radius_nm + tip_nm) ** 2 - numpy.minimum(distance_nm, 4.0) ** 2) - tip_nm
    is_cap = distance_nm < 1.9  # beyond, the cone touches
    numpy.testing.assert_allclose(image_nm[is_cap], expected[is_cap], atol=2e-3)


def test_the_image_of_a_spike_is_the_tip_turned_over():
    height_nm = numpy.zeros((1, 61, 61), numpy.float32)
    height_nm[0, 30, 30] = 5
    tip = Tip(1.0, 20.0)
    along = (numpy.arange(61) - 30) * 0.25
    expected = numpy.maximum(0, 5 - tip.height_nm(numpy.hypot(along[:, None], along)))
    numpy.testing.assert_allclose(scan(height_nm, tip, 0.25)[0], expected, atol=1e-5)


def test_sphere_and_cone_meet_in_height_and_slope():
    tip = Tip(2.0, 15.0)
    joint_nm = 2.0 * numpy.cos(numpy.deg2rad(15.0))
    assert tip.height_nm(numpy.array(0.0)) == 0
    assert tip.height_nm(numpy.array(joint_nm)) == pytest.approx(2.0 * (1 - numpy.sin(numpy.deg2rad(15.0))))
    slopes = numpy.diff(tip.height_nm(joint_nm + numpy.array([-1e-5, 0.0, 1e-5]))) / 1e-5
    assert slopes == pytest.approx([1 / numpy.tan(numpy.deg2rad(15.0))] * 2, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_scan_is_the_grey_dilation_of_scipy(seed):
    rng = numpy.random.default_rng(seed)
    height_nm = (rng.random((3, 30, 41)) ** 4 * 6).astype(numpy.float32)
    tip = Tip(float(rng.uniform(0, 2)), float(rng.uniform(5, 40)))
    along = numpy.arange(-45, 46) * 0.3
    structure = -tip.height_nm(numpy.hypot(along[:, None], along))
    expected = [grey_dilation(view, structure=structure, mode="constant", cval=0) for view in height_nm]
    numpy.testing.assert_allclose(scan(height_nm, tip, 0.3), expected, atol=1e-5)


def test_a_sharp_needle_changes_nothing_and_no_surface_is_lowered():
    height_nm = (numpy.random.default_rng(0).random((2, 20, 20)) * 4).astype(numpy.float32)
    numpy.testing.assert_array_equal(scan(height_nm, Tip(0.0, 0.1), 1.0), height_nm)
    assert (scan(height_nm, Tip(1.0), 0.5) >= height_nm).all()
    assert not scan(numpy.zeros((1, 8, 8)), Tip(1.0), 0.5).any()


def test_an_impossible_tip_and_a_wrong_shape_are_refused_in_words():
    with pytest.raises(ValueError, match="between 0 and 90"):
        Tip(1.0, 90.0)
    with pytest.raises(ValueError, match="at least 0 nm"):
        Tip(-1.0)
    with pytest.raises(ValueError, match=r"expected \(view, row, col\)"):
        scan(numpy.zeros((4, 4)), Tip(1.0), 1.0)
