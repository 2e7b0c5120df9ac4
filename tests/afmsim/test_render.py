import numpy
import pytest

from afmsim.orientation import random_rotations
from afmsim.render import field_of_view_nm, prepare_body, render_heights, thickness_maps
from afmsim.voxelize import placement_of_mesh, voxelize_mesh
from tests.helpers.bodies import asymmetric_body, icosphere, z_buffer_heights

IDENTITY = numpy.eye(3, dtype=numpy.float32)[None]
TURN_X_90 = numpy.array([[[1, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=numpy.float32)


def box_grid(first_zyx, end_zyx, grid_size=32):
    occupancy = numpy.zeros((grid_size,) * 3, dtype=numpy.uint8)
    occupancy[tuple(slice(first, end) for first, end in zip(first_zyx, end_zyx, strict=True))] = 1
    return occupancy


@pytest.fixture(scope="module")
def sphere_128():
    mesh = icosphere(5)
    placement = placement_of_mesh(mesh[0], 128)
    return voxelize_mesh(*mesh, placement), placement.voxel_size_nm


def test_a_box_has_its_own_height_and_area():
    # Pixel and voxel centres coincide: the picture is the box's footprint.
    heights = render_heights(box_grid((10, 4, 6), (17, 9, 20)), IDENTITY, 0.5, 0.5, 32)
    assert heights.dtype == numpy.float32
    expected = numpy.zeros((1, 32, 32))
    expected[0, 31 - 8 : 31 - 4 + 1, 6:20] = 7 * 0.5
    # At a box's corner the interpolated field loses up to half a voxel.
    numpy.testing.assert_allclose(heights[0, 24:27, 7:19], 3.5, atol=1e-5)
    numpy.testing.assert_array_equal(heights > 0, expected > 0)


def test_rows_grow_with_minus_y_and_columns_with_x():
    occupancy = box_grid((8, 8, 8), (12, 24, 24))
    occupancy[12:20, 20:24, 20:24] = 1  # a bump at +x, +y
    row, col = numpy.unravel_index(render_heights(occupancy, IDENTITY, 1.0, 1.0, 32)[0].argmax(), (32, 32))
    assert 31 - 24 < row <= 31 - 20
    assert 20 <= col < 24


def test_a_rotation_takes_the_world_to_the_view():
    # A quarter turn about x takes +y up: the bump at the largest y is on top, and -z becomes +y of the view.
    occupancy = box_grid((8, 8, 8), (24, 12, 24))
    occupancy[8:12, 12:20, 8:12] = 1
    heights = render_heights(occupancy, TURN_X_90, 1.0, 1.0, 32)[0]
    row, col = numpy.unravel_index(heights.argmax(), heights.shape)
    assert heights.max() == pytest.approx(12, abs=1e-4)
    assert 8 <= row < 12
    assert 8 <= col < 12


def test_the_top_of_a_sphere_is_at_its_diameter_from_every_direction(sphere_128):
    occupancy, voxel_size_nm = sphere_128
    heights = render_heights(occupancy, random_rotations(200, 0, "sphere"), voxel_size_nm, voxel_size_nm, 25)
    errors_voxels = (heights.max(axis=(1, 2)) - 2.0) / voxel_size_nm
    assert numpy.abs(errors_voxels).max() < 1
    assert numpy.abs(errors_voxels.mean()) < 0.8


def test_a_sphere_has_the_height_of_a_sphere_at_every_pixel(sphere_128):
    occupancy, voxel_size_nm = sphere_128
    pixel_size_nm = 2.2 / 64
    heights = render_heights(occupancy, random_rotations(3, 1, "sphere"), voxel_size_nm, pixel_size_nm, 64)
    offsets = (numpy.arange(64) - 31.5) * pixel_size_nm
    squared = offsets[:, None] ** 2 + offsets**2
    expected = 1 + numpy.sqrt(numpy.maximum(1 - squared, 0))
    away_from_rim = squared < 0.9**2
    errors_voxels = (heights - expected)[:, away_from_rim] / voxel_size_nm
    assert numpy.abs(numpy.median(errors_voxels)) < 0.5
    assert numpy.abs(errors_voxels).max() < 2
    assert not heights[:, squared > 1.03**2].any()


def test_views_of_an_asymmetric_body_match_a_z_buffer_of_its_mesh():
    mesh = asymmetric_body()
    placement = placement_of_mesh(mesh[0], 128)
    occupancy = voxelize_mesh(*mesh, placement)
    pixel_size_nm = field_of_view_nm(occupancy, placement.voxel_size_nm) / 96
    rotations = random_rotations(12, 0, "body")
    heights = render_heights(occupancy, rotations, placement.voxel_size_nm, pixel_size_nm, 96)
    for rotation, view in zip(rotations, heights, strict=True):
        expected, is_hit = z_buffer_heights(mesh, rotation, placement.center_xyz_nm, pixel_size_nm, 96)
        is_both = is_hit & (view > 0)
        errors_voxels = numpy.abs(view - expected)[is_both] / placement.voxel_size_nm
        assert numpy.median(errors_voxels) < 1
        assert is_both.sum() > 0.97 * (is_hit | (view > 0)).sum()


def test_the_field_of_view_holds_the_body_in_every_orientation():
    mesh = asymmetric_body()
    placement = placement_of_mesh(mesh[0], 64)
    occupancy = voxelize_mesh(*mesh, placement)
    pixel_size_nm = field_of_view_nm(occupancy, placement.voxel_size_nm) / 64
    heights = render_heights(occupancy, random_rotations(40, 0, "body"), placement.voxel_size_nm, pixel_size_nm, 70)
    assert heights.max() > 0
    assert not heights[:, [0, 1, 2, -3, -2, -1], :].any()
    assert not heights[:, :, [0, 1, 2, -3, -2, -1]].any()


def test_the_field_of_view_reaches_the_farthest_corner():
    occupancy = box_grid((15, 15, 15), (17, 17, 17))
    assert field_of_view_nm(occupancy, 0.5) == pytest.approx(2 * 3**0.5 * 0.5)
    occupancy[0, 31, 0] = 1
    assert field_of_view_nm(occupancy, 0.5) == pytest.approx(2 * 3**0.5 * 16 * 0.5)


def test_the_thickness_of_a_sphere_is_its_chord_and_its_sum_the_volume():
    placement = placement_of_mesh(icosphere(5)[0], 96)
    occupancy = voxelize_mesh(*icosphere(5), placement)
    pixel_size_nm = 2.4 / 80
    maps = thickness_maps(
        prepare_body(occupancy), random_rotations(3, 0, "ball"), placement.voxel_size_nm, pixel_size_nm, 80
    )
    along = (numpy.arange(80) - 39.5) * pixel_size_nm
    distance = numpy.hypot(along[:, None], along)
    chord = 2 * numpy.sqrt(numpy.maximum(1 - distance**2, 0))
    assert numpy.abs(maps - chord)[:, distance < 0.9].max() < 2.5 * placement.voxel_size_nm
    assert maps.sum(axis=(1, 2)) * pixel_size_nm**2 == pytest.approx(numpy.full(3, 4 / 3 * numpy.pi), rel=0.01)


def test_skipped_blocks_change_no_pixel():
    rng = numpy.random.default_rng(0)
    occupancy = (rng.random((40, 40, 40)) < 0.002).astype(numpy.uint8)
    occupancy[12:19, 20:33, 9:12] = 1
    rotations = random_rotations(4, 0, "sparse")
    heights = render_heights(occupancy, rotations, 1.0, 1.3, 48)
    numpy.testing.assert_allclose(heights, plain_heights(occupancy, rotations, 1.3, 48), atol=2e-3)


def plain_heights(occupancy, view_rotations, pixel_size, image_size):
    """Sample every half voxel of every ray with scipy, from the same top, in float64."""
    from scipy.ndimage import map_coordinates

    from afmsim import render, render_cpu

    body = render.prepare_body(occupancy)
    substrates = render_cpu.substrates(body, view_rotations, numpy)
    top = float(render._ray_scale(body, 1.0, pixel_size, image_size).top_voxels)
    heights_down = top - 0.5 * numpy.arange(int(4 * top) + 1)
    offsets = (numpy.arange(image_size) - (image_size - 1) / 2) * pixel_size
    view_y, view_x, view_z = numpy.meshgrid(-offsets, offsets, heights_down, indexing="ij")
    points_view = numpy.stack([view_x, view_y, view_z], axis=-1)
    images = []
    for rotation, substrate in zip(view_rotations.astype(numpy.float64), substrates, strict=True):
        index_xyz = points_view @ rotation + (occupancy.shape[0] - 1) / 2
        values = map_coordinates(
            occupancy.astype(numpy.float64), index_xyz[..., ::-1].reshape(-1, 3).T, order=1, mode="grid-constant"
        ).reshape(view_x.shape)
        first = (values >= 0.5).argmax(axis=-1)
        value = numpy.take_along_axis(values, first[..., None], -1)[..., 0]
        above = numpy.take_along_axis(values, numpy.maximum(first - 1, 0)[..., None], -1)[..., 0]
        with numpy.errstate(divide="ignore", invalid="ignore"):
            surface = heights_down[first] + 0.5 * (value - 0.5) / (value - above)
        images.append(numpy.where(value >= 0.5, numpy.maximum(surface - substrate, 0), 0))
    return numpy.array(images)


def test_a_body_at_the_border_of_the_grid_is_whole():
    heights = render_heights(numpy.ones((16, 16, 16), dtype=numpy.uint8), IDENTITY, 1.0, 1.0, 20)[0]
    assert (heights > 0).sum() == 16 * 16
    assert heights.max() == pytest.approx(16, abs=1e-4)


def test_one_voxel_is_a_body():
    heights = render_heights(box_grid((3, 4, 5), (4, 5, 6)), IDENTITY, 1.0, 0.25, 127)[0]
    assert heights.max() == pytest.approx(1, abs=1e-4)


def test_an_empty_grid_gives_empty_images_and_has_no_field_of_view():
    empty = numpy.zeros((16, 16, 16), dtype=numpy.uint8)
    assert not render_heights(empty, IDENTITY, 1.0, 1.0, 8).any()
    with pytest.raises(ValueError, match="no occupied voxel"):
        field_of_view_nm(empty, 1.0)


def test_no_views_give_no_images():
    occupancy = box_grid((3, 4, 5), (9, 9, 9))
    assert render_heights(occupancy, numpy.zeros((0, 3, 3)), 1.0, 1.0, 8).shape == (0, 8, 8)


def test_wrong_shapes_are_refused_in_words():
    with pytest.raises(ValueError, match=r"expected \(z, y, x\)"):
        render_heights(numpy.zeros((4, 4), dtype=numpy.uint8), IDENTITY, 1.0, 1.0, 8)
    with pytest.raises(ValueError, match="view, 3, 3"):
        render_heights(numpy.zeros((4, 4, 4), dtype=numpy.uint8), IDENTITY[0], 1.0, 1.0, 8)
