import numpy
import pytest
from scipy import stats

from afmsim.orientation import random_rotations


def test_rotations_are_proper_and_orthonormal():
    rotations = random_rotations(200, seed=3, protein_id="1abc")
    assert rotations.dtype == numpy.float32
    assert rotations.shape == (200, 3, 3)
    products = rotations @ rotations.transpose(0, 2, 1)
    numpy.testing.assert_allclose(products, numpy.broadcast_to(numpy.eye(3), (200, 3, 3)), atol=1e-6)
    numpy.testing.assert_allclose(numpy.linalg.det(rotations.astype(numpy.float64)), 1, atol=1e-6)


def test_a_view_is_the_same_whatever_the_number_of_views():
    few, many = random_rotations(3, 0, "1abc"), random_rotations(25, 0, "1abc")
    numpy.testing.assert_array_equal(few, many[:3])
    assert random_rotations(0, 0, "1abc").shape == (0, 3, 3)


@pytest.mark.parametrize(("seed", "protein_id"), [(1, "1abc"), (0, "2xyz")])
def test_another_seed_or_protein_gives_other_views(seed, protein_id):
    assert numpy.abs(random_rotations(5, 0, "1abc") - random_rotations(5, seed, protein_id)).min() > 0


def test_numbers_that_read_the_same_when_joined_give_other_views():
    assert not numpy.array_equal(random_rotations(1, 1, "1abc"), random_rotations(1, 11, "abc"))


def test_rotations_are_uniform_on_so3():
    rotations = random_rotations(5000, 0, "uniform").astype(numpy.float64)
    # Each matrix entry has mean 0 and variance 1/3; 5 standard errors of the mean.
    assert numpy.abs(rotations.mean(axis=0)).max() < 5 * (1 / 3 / 5000) ** 0.5
    cos_angle = numpy.clip((numpy.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1)
    # The density of the angle is (1 - cos) / pi, so its distribution function is (angle - sin) / pi.
    result = stats.kstest(numpy.arccos(cos_angle), lambda angle: (angle - numpy.sin(angle)) / numpy.pi)
    assert result.pvalue > 0.001
    # Each axis goes to a uniform point of the sphere: its z is uniform in -1..1.
    assert stats.kstest(rotations[:, 2, 0], stats.uniform(-1, 2).cdf).pvalue > 0.001


def test_the_first_view_never_changes():
    expected = [[-0.5674153, -0.02603229, -0.82302016], [0.8064850, -0.2192986, -0.5490797]]
    numpy.testing.assert_allclose(random_rotations(1, 0, "a")[0, :2], expected, atol=1e-6)
