"""The CUDA kernels of registration against the compiled CPU loops: behind a shim on the CPU, and on a GPU."""

from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpc.array_backend import to_numpy
from recon.poses.pose_loops import PoseLoops, pose_loops
from recon.poses.pose_search import COARSE_COST, CONTACT_BAND_CELLS, FINE_COSTS, REFINE_STEPS, SEARCH_COST
from recon.poses.pose_search_kernels import search_costs
from recon.poses.poses import Poses
from recon.poses.rotation_sampling import even_rotations
from recon.poses.view_stack import ViewStack, allowed_distances, prepare_views
from recon.register import JOINT_COSTS, register
from tests.helpers.height_views import PlantedViews, planted_views, real_body

NUM_POINTS = 150  # no multiple of the threads of a block


@pytest.fixture(scope="module")
def planted() -> PlantedViews:
    return planted_views(*real_body("2trc"), 3)


@pytest.fixture(scope="module")
def stack(planted: PlantedViews) -> ViewStack:
    return prepare_views(planted.heights_nm, planted.pixel_size_nm)


@pytest.fixture
def both(stack: ViewStack, xp: ModuleType) -> tuple[PoseLoops, PoseLoops]:
    return pose_loops(stack), pose_loops(stack, xp)


@pytest.fixture
def poses(planted: PlantedViews) -> Poses:
    """Near the true poses, so that points touch surfaces."""
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(rng.normal(0, 0.03, (3, 3))).as_matrix()
    return Poses(np.array([2, 0, 1]), (turns @ planted.rotations)[[2, 0, 1]], rng.normal(0, 0.3, (3, 3)))


@pytest.mark.parametrize("pixels_per_cell", [1, 3])
def test_distances_to_what_views_allow_are_those_of_the_cpu(
    planted: PlantedViews, xp: ModuleType, pixels_per_cell: int
) -> None:
    heights = (planted.heights_nm[:2] / (planted.pixel_size_nm * pixels_per_cell)).astype(np.float32)
    heights = heights[:, :70, :70]  # not a whole number of cells
    expected, corner = allowed_distances(heights, pixels_per_cell)
    distances, corner_there = allowed_distances(heights, pixels_per_cell, xp)
    np.testing.assert_allclose(to_numpy(distances), expected, atol=1e-4)
    assert (corner_there == corner).all()
    assert expected.min() < -3 < 3 < expected.max()


def test_offsets_and_costs_of_the_coarse_search_are_those_of_the_cpu(both, stack: ViewStack) -> None:
    rotations = even_rotations(300)
    (expected, _), (offsets, costs) = (loops.search(0, 1, rotations, SEARCH_COST) for loops in both)
    np.testing.assert_allclose(offsets, expected, atol=1e-5)
    # At the same offsets: a last digit may move a point into the next cell.
    costs_there = search_costs(
        rotations, offsets, stack.points[:, : SEARCH_COST.num_points], stack.distance, stack.corners, 0, 1,
        SEARCH_COST.band, SEARCH_COST.clip, SEARCH_COST.step,
    )  # fmt: skip
    np.testing.assert_allclose(costs, costs_there, rtol=1e-6)
    assert costs.std() > 0.1


@pytest.mark.parametrize("cost", [COARSE_COST, *FINE_COSTS])
def test_refined_candidates_are_those_of_the_cpu(both, poses: Poses, cost) -> None:
    fixed = poses.first(2)
    turns = Rotation.from_rotvec(np.random.default_rng(1).normal(0, 0.2, (6, 3))).as_matrix()
    offsets = np.random.default_rng(2).normal(0, 1, (6, 3))
    offsets[5] = 500  # nothing is within reach: the pose stays
    candidates = (turns @ poses.rotations[2], offsets)
    (expected, expected_costs), (refined, costs) = (
        loops.refine(cost, NUM_POINTS, 1, fixed, candidates, REFINE_STEPS) for loops in both
    )
    np.testing.assert_allclose(costs, expected_costs, rtol=1e-6)
    for part, expected_part in zip(refined, expected, strict=True):
        np.testing.assert_allclose(part, expected_part, atol=1e-5)
    assert np.abs(refined[1][:5] - offsets[:5]).max() > 0.1
    assert (refined[1][5] == offsets[5]).all()


def test_normal_equations_are_those_of_the_cpu(both, poses: Poses) -> None:
    pairs = np.array([[0, 1], [2, 0], [1, 2]])
    for cost in JOINT_COSTS:
        expected, found = (loops.pair_equations(cost, NUM_POINTS, poses, pairs) for loops in both)
        for part, expected_part in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, expected_part, rtol=1e-9, atol=1e-9)


def test_shares_of_contacts_and_breaches_are_those_of_the_cpu(both, poses: Poses) -> None:
    pairs = np.array([[0, 1], [2, 0], [1, 2], [1, 1]])
    source, target = ((poses.rotations[at], poses.offsets[at]) for at in pairs.T)
    shares = [loops.fit_shares(NUM_POINTS, source, target, poses.views[pairs], CONTACT_BAND_CELLS) for loops in both]
    np.testing.assert_array_equal(*shares)
    assert shares[0].min(axis=0).tolist() == [pytest.approx(0, abs=0.3), 0]
    assert shares[0].max(axis=0).min() > 0.05


def test_breaches_of_an_upper_bound_are_those_of_the_cpu(planted: PlantedViews, poses: Poses, xp: ModuleType) -> None:
    pairs = np.array([[0, 1], [2, 0], [1, 2]])
    source, target = ((poses.rotations[at], poses.offsets[at] + [0, 0, 2]) for at in pairs.T)
    breaches = []
    for upper_nm in (planted.heights_nm, planted.heights_nm + 1.0):
        stack = prepare_views(planted.heights_nm, planted.pixel_size_nm, upper_nm=upper_nm)
        shares = [
            loops.fit_shares(NUM_POINTS, source, target, poses.views[pairs], CONTACT_BAND_CELLS)
            for loops in (pose_loops(stack), pose_loops(stack, xp))
        ]
        np.testing.assert_array_equal(*shares)
        breaches.append(shares[0][:, 1].mean())
    assert breaches[1] < breaches[0]


def test_views_are_registered_as_on_the_cpu(planted: PlantedViews, xp: ModuleType) -> None:
    expected = register(planted.heights_nm, planted.pixel_size_nm)
    found = register(planted.heights_nm, planted.pixel_size_nm, xp=xp)
    # No more than where a step of Levenberg-Marquardt stops; behind the shim they agree to 1e-9.
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-4)
    np.testing.assert_allclose(found.offsets_nm, expected.offsets_nm, atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=0.02)
    assert found.is_accepted.all()
