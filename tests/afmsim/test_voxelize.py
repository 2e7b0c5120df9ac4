import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afmsim.voxelize import (
    GridPlacement,
    downsample_majority,
    pack_occupancy,
    placement_of_mesh,
    unpack_occupancy,
    voxelize_mesh,
)
from tests.helpers.bodies import asymmetric_body, box, icosphere, parity_reference, random_tetrahedra, union, with_hole

UNIT_16 = GridPlacement(center_xyz_nm=numpy.full(3, 7.5), voxel_size_nm=1.0, grid_size=16)


def voxelize_unit_grid(vertices, faces):
    """Voxelize in a grid of 16 where voxel [z, y, x] has its centre at (x, y, z)."""
    return voxelize_mesh(numpy.asarray(vertices, dtype=numpy.float64), faces, UNIT_16)


def test_the_longest_side_spans_the_grid():
    vertices, _ = box((1.0, 2.0, 3.0), (5.0, 4.0, 4.0))
    placement = placement_of_mesh(vertices, grid_size=8)
    numpy.testing.assert_array_equal(placement.center_xyz_nm, (3.0, 3.0, 3.5))
    assert placement.voxel_size_nm == 0.5
    occupancy = voxelize_mesh(*box((1.0, 2.0, 3.0), (5.0, 4.0, 4.0)), placement)
    expected = numpy.zeros((8, 8, 8), dtype=numpy.uint8)
    expected[3:5, 2:6, :] = 1
    numpy.testing.assert_array_equal(occupancy, expected)


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (icosphere(5), 4 / 3 * numpy.pi),
        (box((-0.5, -0.7, -1.0), (0.8, 0.6, 1.3)), 1.3 * 1.3 * 2.3),
    ],
    ids=["sphere", "box"],
)
def test_the_volume_at_256_is_within_one_percent(mesh, volume):
    placement = placement_of_mesh(mesh[0])
    occupancy = voxelize_mesh(*mesh, placement)
    assert occupancy.dtype == numpy.uint8
    assert occupancy.max() == 1
    assert occupancy.sum() * placement.voxel_size_nm**3 == pytest.approx(volume, rel=0.01)


def test_voxels_of_a_sphere_are_those_within_its_radius():
    placement = placement_of_mesh(icosphere(5)[0], grid_size=64)
    occupancy = voxelize_mesh(*icosphere(5), placement)
    offsets = (numpy.arange(64) - 31.5) * placement.voxel_size_nm
    radius = numpy.sqrt(offsets[:, None, None] ** 2 + offsets[:, None] ** 2 + offsets**2)
    # The triangles of this sphere lie at most 0.1 % below its surface.
    assert occupancy[radius < 0.998].all()
    assert not occupancy[radius > 1].any()


@pytest.mark.parametrize("seed", range(4))
def test_random_closed_bodies_equal_the_exact_parity_along_each_axis(seed):
    rng = numpy.random.default_rng(seed)
    vertices, faces = random_tetrahedra(6, rng, extent=9.0)  # some reach beyond the grid
    vertices = vertices + 7.5
    occupancy = voxelize_unit_grid(vertices, faces)
    lattice = numpy.rint(vertices * 1024).astype(int)
    for ray_axis in range(3):
        numpy.testing.assert_array_equal(occupancy, parity_reference(lattice, faces, 16, ray_axis))


@pytest.mark.parametrize("seed", range(4))
def test_bodies_with_corners_on_voxel_centres_never_leak(seed):
    rng = numpy.random.default_rng(seed)
    vertices, faces = random_tetrahedra(5, rng, extent=7.0)
    vertices = numpy.rint(vertices) + 8
    votes = sum(parity_reference((vertices * 1024).astype(int), faces, 16, axis).astype(int) for axis in range(3))
    numpy.testing.assert_array_equal(voxelize_unit_grid(vertices, faces), votes >= 2)


def test_a_box_with_faces_on_voxel_centres_takes_one_side_of_each_axis():
    occupancy = voxelize_unit_grid(*box((3.0, 4.0, 5.0), (7.0, 9.0, 12.0)))
    assert occupancy.sum() == 4 * 5 * 7
    assert not occupancy[:, :, 8:].any()
    assert not occupancy[:, :, :3].any()


def test_neighbouring_boxes_share_no_voxel_and_leave_none_out():
    first = voxelize_unit_grid(*box((2.0, 2.0, 2.0), (7.0, 9.0, 12.0)))
    second = voxelize_unit_grid(*box((7.0, 2.0, 2.0), (13.0, 9.0, 12.0)))
    whole = voxelize_unit_grid(*box((2.0, 2.0, 2.0), (13.0, 9.0, 12.0)))
    numpy.testing.assert_array_equal(first + second, whole)


def test_degenerate_triangles_change_nothing():
    vertices, faces = box((2.2, 3.0, 4.7), (9.1, 11.5, 10.0))
    extra = numpy.array([(0, 0, 5), (1, 1, 1), (0, 7, 0), (2, 2, 3)], dtype=numpy.int32)
    on_a_line = numpy.concatenate([vertices, [vertices[0], vertices[7], (vertices[0] + vertices[7]) / 2]])
    extra_faces = numpy.concatenate([faces, extra, [(8, 9, 10)]]).astype(numpy.int32)
    numpy.testing.assert_array_equal(voxelize_unit_grid(on_a_line, extra_faces), voxelize_unit_grid(vertices, faces))


def test_the_orientation_of_faces_changes_nothing():
    vertices, faces = asymmetric_body()
    placement = placement_of_mesh(vertices, 32)
    turned = faces.copy()
    turned[::2] = turned[::2, ::-1]
    numpy.testing.assert_array_equal(
        voxelize_mesh(vertices, turned, placement), voxelize_mesh(vertices, faces, placement)
    )


def test_a_body_that_fills_the_grid_fills_all_voxels():
    vertices, faces = box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert voxelize_mesh(vertices, faces, placement_of_mesh(vertices, 40)).all()


def test_a_body_beyond_the_grid_is_cut_off_at_its_border():
    occupancy = voxelize_unit_grid(*box((-30.0, 3.5, -20.0), (5.5, 90.0, 70.0)))
    expected = numpy.zeros((16, 16, 16), dtype=numpy.uint8)
    expected[:, 4:, :6] = 1
    numpy.testing.assert_array_equal(occupancy, expected)


def test_a_cavity_stays_empty():
    occupancy = voxelize_unit_grid(*union(box((1.5,) * 3, (13.5,) * 3), box((4.5,) * 3, (8.5,) * 3)))
    assert occupancy.sum() == 12**3 - 4**3
    assert not occupancy[5:9, 5:9, 5:9].any()


def test_bits_of_the_grid_lie_at_z_y_x():
    occupancy = voxelize_unit_grid(*box((1.6, 4.6, 9.6), (2.4, 5.4, 10.4)))
    numpy.testing.assert_array_equal(numpy.argwhere(occupancy), [(10, 5, 2)])


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.1, 1.0), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("num_faces", [1, 12, 40])
def test_a_hole_leaves_no_streak(direction, num_faces):
    closed_mesh = icosphere(4)
    placement = placement_of_mesh(closed_mesh[0], 128)
    closed = voxelize_mesh(*closed_mesh, placement).astype(bool)
    holed = voxelize_mesh(*with_hole(closed_mesh, direction, num_faces), placement).astype(bool)
    assert not (holed & ~closed).any()
    assert (holed & closed).sum() > 0.998 * closed.sum()


def test_two_holes_leave_no_streak():
    closed_mesh = icosphere(4)
    placement = placement_of_mesh(closed_mesh[0], 128)
    closed = voxelize_mesh(*closed_mesh, placement).astype(bool)
    mesh = with_hole(with_hole(closed_mesh, (1.0, 0.2, 0.1), 20), (-0.3, 1.0, 0.9), 20)
    holed = voxelize_mesh(*mesh, placement).astype(bool)
    assert not (holed & ~closed).any()
    assert (holed & closed).sum() > 0.998 * closed.sum()


def test_an_empty_mesh_gives_an_empty_grid():
    occupancy = voxelize_mesh(numpy.zeros((0, 3)), numpy.zeros((0, 3), dtype=numpy.int32), UNIT_16)
    assert occupancy.shape == (16, 16, 16)
    assert not occupancy.any()


@pytest.mark.parametrize("grid_size", [7, 31, 32, 33, 64])
def test_any_grid_size_works(grid_size):
    vertices, faces = box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    placement = placement_of_mesh(vertices, grid_size)
    assert voxelize_mesh(vertices, faces, placement).sum() == grid_size**3


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (numpy.full((3, 3), numpy.nan), [[0, 1, 2]], "not finite"),
        (numpy.zeros((3, 2)), [[0, 1, 2]], "vertex, xyz"),
        (numpy.zeros((3, 3)), [[0, 1, 3]], "0 to 3; expected 0 to 2"),
        (numpy.zeros((4, 3)), [[0, 1, 2, 3]], "face, corner"),
        (numpy.full((3, 3), 1e9), [[0, 1, 2]], "more than 512 voxels"),
    ],
)
def test_a_bad_mesh_is_refused_in_words(vertices, faces, words):
    with pytest.raises(ValueError, match=words):
        voxelize_mesh(vertices, numpy.array(faces), UNIT_16)


def test_a_mesh_without_extent_has_no_placement():
    with pytest.raises(ValueError, match="no vertices"):
        placement_of_mesh(numpy.zeros((0, 3)))
    with pytest.raises(ValueError, match="single point"):
        placement_of_mesh(numpy.ones((3, 3)))


@pytest.mark.parametrize(("grid_size", "target_size"), [(256, 32), (24, 8), (30, 10), (8, 8), (6, 1)])
def test_a_coarse_voxel_is_set_by_at_least_half_of_its_fine_ones(grid_size, target_size):
    occupancy = numpy.random.default_rng(0).integers(0, 2, (grid_size,) * 3, dtype=numpy.uint8)
    factor = grid_size // target_size
    counts = occupancy.reshape(target_size, factor, target_size, factor, target_size, factor).sum(axis=(1, 3, 5))
    numpy.testing.assert_array_equal(downsample_majority(occupancy, target_size), 2 * counts >= factor**3)


def test_exactly_half_is_enough():
    occupancy = numpy.zeros((2, 2, 2), dtype=numpy.uint8)
    occupancy[0] = 1
    assert downsample_majority(occupancy, 1)[0, 0, 0] == 1
    occupancy[0, 0, 0] = 0
    assert downsample_majority(occupancy, 1)[0, 0, 0] == 0


@pytest.mark.parametrize("target_size", [0, 5, 32])
def test_a_target_that_does_not_divide_the_grid_is_refused(target_size):
    with pytest.raises(ValueError, match="divides"):
        downsample_majority(numpy.zeros((16, 16, 16), dtype=numpy.uint8), target_size)


def test_packing_is_along_x_with_the_first_voxel_in_the_lowest_bit():
    occupancy = numpy.random.default_rng(0).integers(0, 2, (4, 6, 16), dtype=numpy.uint8)
    packed = pack_occupancy(occupancy)
    numpy.testing.assert_array_equal(packed, numpy.packbits(occupancy, axis=-1, bitorder="little"))
    numpy.testing.assert_array_equal(unpack_occupancy(packed), occupancy)
    with pytest.raises(ValueError, match="multiple of 8"):
        pack_occupancy(occupancy[:, :, :12])


@st.composite
def hostile_meshes(draw):
    """Closed bodies, some with all corners on voxel centres, with flat and repeated triangles, across the border."""
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_bodies = draw(st.integers(0, 4))
    vertices, faces = numpy.zeros((3, 3)), numpy.zeros((0, 3), dtype=numpy.int32)
    if num_bodies:
        vertices, faces = random_tetrahedra(num_bodies, rng, extent=draw(st.sampled_from([2.0, 4.0, 7.0])))
    if draw(st.booleans()):
        vertices = numpy.rint(vertices)
    flat = rng.integers(0, len(vertices), (draw(st.integers(0, 3)), 1)).repeat(3, axis=1)
    twice = numpy.concatenate([faces[:1], faces[:1]])  # crossed twice, changes nothing
    return vertices + 4, numpy.concatenate([faces, flat, twice]).astype(numpy.int32)


@settings(max_examples=40, deadline=None)
@given(hostile_meshes())
def test_any_closed_mesh_is_the_vote_of_the_exact_parities(mesh):
    vertices, faces = mesh
    placement = GridPlacement(center_xyz_nm=numpy.full(3, 3.5), voxel_size_nm=1.0, grid_size=8)
    lattice = numpy.rint(vertices * 1024).astype(int)
    votes = sum(parity_reference(lattice, faces, 8, axis).astype(int) for axis in range(3))
    numpy.testing.assert_array_equal(voxelize_mesh(vertices, faces, placement), votes >= 2)
