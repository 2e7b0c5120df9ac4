"""The compiled loops of registration against slow plain references and closed forms."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from recon.poses.pose_fit_kernels import fit_shares, moved_pose, pair_equations, turn_matrix
from recon.poses.pose_point_kernels import FitCost, add_pair_equations, distance_and_gradient, surface_residual
from recon.poses.pose_search_kernels import search_costs, support_offsets
from recon.poses.rotation_sampling import even_rotations, upper_directions
from recon.poses.view_stack import NUM_DIRECTIONS, ViewStack, fit_arrays, prepare_views
from tests.helpers.height_views import planted_views, real_body

RNG = np.random.default_rng(5)
COST = FitCost(band=1.0, clip=3.0, surface_band=0.5, grid_weight=0.7, surface_weight=1.3)


@pytest.fixture(scope="module")
def stack() -> ViewStack:
    planted = planted_views(*real_body("2trc"), 3)
    return prepare_views(planted.heights_nm, planted.pixel_size_nm)


def random_pose() -> tuple[np.ndarray, np.ndarray]:
    return Rotation.random(random_state=RNG.integers(1000)).as_matrix(), RNG.normal(0, 2, 3)


def test_distance_is_trilinear_and_its_gradient_the_slope() -> None:
    grid = RNG.normal(size=(6, 7, 8)).astype(np.float32)
    gradient, other = np.empty(3), np.empty(3)
    for x, y, z in RNG.uniform(0.1, 4.8, (20, 3)):
        value = distance_and_gradient(grid, x, y, z, gradient)
        assert value == pytest.approx(map_coordinates(grid, [[z], [y], [x]], order=1, output=float)[0], abs=1e-5)
        if all(0.01 < part % 1 < 0.99 for part in (x, y, z)):
            slopes = [
                (distance_and_gradient(grid, *(np.array([x, y, z]) + step), other) - value) / 1e-3
                for step in 1e-3 * np.eye(3)
            ]
            assert np.allclose(gradient, slopes, atol=1e-3)


def test_outside_the_grid_is_far_away() -> None:
    assert distance_and_gradient(np.zeros((4, 4, 4), np.float32), -0.1, 1.0, 1.0, np.empty(3)) > 1000


def test_residual_on_a_tilted_plane_is_the_distance_to_it() -> None:
    x = np.arange(20) - 9.5
    heights = (30 + 0.5 * x[None, :] + 0.25 * x[:, None]).astype(np.float32)  # y grows against rows
    normal = np.empty(3)
    point = np.array([1.2, -2.3, 35.0])
    expected_normal = np.array([-0.5, 0.25, 1]) / np.linalg.norm([-0.5, 0.25, 1])
    residual = surface_residual(heights, 1.0, *point, 3.0, normal)
    assert np.allclose(normal, expected_normal, atol=1e-5)
    assert residual == pytest.approx((point - [0, 0, 30]) @ expected_normal, abs=1e-4)
    assert np.isnan(surface_residual(heights, 1.0, *point, 0.1, normal))


def test_cost_of_a_pair_is_that_of_a_plain_loop(stack: ViewStack) -> None:
    arrays = fit_arrays(stack, 60)
    source_pose, target_pose = random_pose(), random_pose()
    total = add_pair_equations(arrays, COST, 0, 1, source_pose, target_pose, np.zeros((6, 6)), np.zeros(6))
    assert total == pytest.approx(plain_cost(arrays, source_pose, target_pose), rel=1e-9)


def plain_cost(arrays, source_pose, target_pose) -> float:
    scratch = np.empty(3)
    costs = []
    for point, normal in zip(arrays.points[0], arrays.normals[0], strict=True):
        world = source_pose[0].T @ (point - source_pose[1])
        at = target_pose[0] @ world + target_pose[1]
        d = float(np.clip(distance_and_gradient(arrays.distance[1], *(at - arrays.corners[1]), scratch), -1, 3))
        residual = surface_residual(
            arrays.heights[1], arrays.pixel_cells, *(at + arrays.centers[1]), arrays.steepest_slope, scratch
        )
        does_agree = (target_pose[0] @ source_pose[0].T @ normal) @ scratch > 0.8
        touches = abs(residual) < COST.surface_band and does_agree
        surface = residual**2 if touches else COST.surface_band**2
        costs.append(COST.grid_weight * d**2 + COST.surface_weight * surface / COST.surface_band**2)
    return float(np.mean(costs))


def test_vector_of_the_normal_equations_is_half_the_slope_of_the_cost() -> None:
    # A smooth field everywhere, so that no point crosses a band.
    grid = np.fromfunction(lambda z, y, x: 0.02 * (x - 9) ** 2 + 0.03 * (y - 8) * (z - 9), (18, 18, 18))
    planted = planted_views(*real_body("2trc"), 2)
    arrays = fit_arrays(prepare_views(planted.heights_nm, planted.pixel_size_nm), 30)
    arrays = arrays._replace(
        points=RNG.uniform(-2, 2, (2, 30, 3)),
        distance=np.stack([grid, grid]).astype(np.float32),
        corners=np.full((2, 3), -9.0),
    )
    cost = FitCost(band=100.0, clip=100.0, surface_band=1.0, grid_weight=1.0, surface_weight=0.0)
    poses = [(Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(), np.array([0.3, 0.1, 0.2])), (np.eye(3), np.zeros(3))]
    right = np.zeros(6)
    add_pair_equations(arrays, cost, 0, 1, *poses, np.zeros((6, 6)), right)

    def at(twist: np.ndarray) -> float:
        return add_pair_equations(
            arrays, cost, 0, 1, moved_pose(*poses[0], twist), poses[1], np.zeros((6, 6)), np.zeros(6)
        )

    slopes = [(at(step) - at(-step)) / 2e-3 for step in 1e-3 * np.eye(6)]
    assert np.allclose(2 * right, slopes, rtol=0.05, atol=0.01)


def test_normal_equations_of_pairs_are_those_of_each_pair(stack: ViewStack) -> None:
    arrays = fit_arrays(stack, 60)
    poses = [random_pose() for _ in range(3)]
    rotations, offsets = (np.stack(parts) for parts in zip(*poses, strict=True))
    pairs = np.array([[0, 1], [2, 0], [1, 2]])
    matrices, rights, costs = pair_equations(arrays, COST, np.arange(3), rotations, offsets, pairs)
    for (source, target), matrix, right, cost in zip(pairs, matrices, rights, costs, strict=True):
        lower, vector = np.zeros((6, 6)), np.zeros(6)
        alone = add_pair_equations(arrays, COST, source, target, poses[source], poses[target], lower, vector)
        assert cost == alone
        assert np.allclose(right, vector)
        assert np.allclose(matrix, np.tril(lower) + np.tril(lower, -1).T)


def test_a_turn_is_that_of_scipy() -> None:
    for vector in ([0.0, 0.0, 0.0], [1e-9, 0, 0], [0.3, -0.7, 1.1]):
        assert np.allclose(turn_matrix(np.array(vector)), Rotation.from_rotvec(vector).as_matrix())


def test_true_pose_touches_and_breaks_nothing(stack: ViewStack) -> None:
    arrays = fit_arrays(stack, 400)
    same = (np.eye(3)[None], np.zeros((1, 3)))
    touching, breaking = fit_shares(arrays, same, same, np.array([[0, 0]]), 0.3, 0.4)[0]
    steep_share = np.mean(np.linalg.norm(arrays.normals[0], axis=1) == 0)
    assert breaking == 0
    assert touching > 0.7 * (1 - steep_share)
    raised = (np.eye(3)[None], np.array([[0, 0, 50.0]]))
    assert fit_shares(arrays, same, raised, np.array([[0, 0]]), 0.3, 0.4)[0].tolist() == [0, 1]


def test_search_cost_is_that_of_the_nearest_cells(stack: ViewStack) -> None:
    rotation, offset = random_pose()
    found = search_costs(
        rotation[None].astype(np.float32), offset[None].astype(np.float32),
        stack.points, stack.distance, stack.corners, 0, 1, 1.5, 3.5, 7,
    )  # fmt: skip
    forward = plain_search_cost(stack, 0, 1, rotation, offset)
    backward = plain_search_cost(stack, 1, 0, rotation.T, -rotation.T @ offset)
    assert found[0] == pytest.approx(forward + backward, rel=0.02)


def plain_search_cost(stack: ViewStack, source: int, target: int, rotation: np.ndarray, offset: np.ndarray) -> float:
    index = np.rint(stack.points[source, ::7] @ rotation.T + offset - stack.corners[target]).astype(int)[:, ::-1]
    is_inside = ((index >= 0) & (index < stack.distance[target].shape)).all(axis=1)
    values = np.full(len(index), 3.5)
    values[is_inside] = stack.distance[target][tuple(index[is_inside].T)]
    return float(np.mean(np.clip(values, -1.5, 3.5) ** 2))


def test_support_functions_find_the_planted_offset() -> None:
    planted = planted_views(*real_body("1kjy"), 2, seed=1)
    stack = prepare_views(planted.heights_nm, planted.pixel_size_nm)
    rotation = planted.rotations[1] @ planted.rotations[0].T
    heights = (float(stack.centers[0, 2]), float(stack.centers[1, 2]))
    offset = support_offsets(
        rotation[None].astype(np.float32), upper_directions(NUM_DIRECTIONS), stack.supports[0], stack.support_maps[1],
        heights, 8.0, 0.01,
    )[0]  # fmt: skip
    # The body's centre in both frames, in x and y; z has no closed form.
    move = planted.offsets_nm / stack.cell_nm - stack.centers
    z = -support_height(planted, 0) / stack.cell_nm - stack.centers[0, 2]
    first = np.array([move[0, 0], move[0, 1], z])
    second = rotation @ first + offset
    expected = [move[1, 0], move[1, 1], -support_height(planted, 1) / stack.cell_nm - stack.centers[1, 2]]
    assert np.abs(second - expected).max() < 1.0  # cells; the search goes on from there


def support_height(planted, view: int) -> float:
    """Return the height of the body's lowest voxel, from its grid's centre, in nm."""
    points = np.argwhere(planted.body)[:, ::-1] - (len(planted.body) - 1) / 2
    return float((points @ planted.rotations[view, 2]).min()) * planted.voxel_size_nm


def test_every_rotation_has_a_near_neighbour() -> None:
    rotations = even_rotations(15_000)
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    for matrix in Rotation.random(50, random_state=3).as_matrix():
        cosine = ((rotations * matrix).sum(axis=(1, 2)).max() - 1) / 2
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 9


def test_directions_cover_the_upper_half_evenly() -> None:
    directions = upper_directions(500)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    assert (directions[:, 2] > 0).all()
    assert directions.mean(axis=0) == pytest.approx([0, 0, 0.5], abs=0.01)
