"""The CUDA kernels against the CPU code: run behind a shim on the CPU, and run on a GPU."""

import numpy
import pytest

from afmsim.build_config import BuildConfig
from afmsim.dataset import VIEW_ARRAY_OF_RENDERING
from afmsim.orientation import random_rotations
from afmsim.pymol_surface import SurfaceMesh
from afmsim.render import field_of_view_nm, prepare_body, render_heights, thickness_maps
from afmsim.sample import make_sample
from afmsim.solvent_surface import AtomSpheres, placement_of_atoms, solvent_excluded_occupancy
from afmsim.tip import Tip, scan
from afmsim.voxelize import (
    GridPlacement,
    downsample_majority,
    pack_occupancy,
    placement_of_mesh,
    unpack_occupancy,
    voxelize_mesh,
)
from hpc.array_backend import to_numpy
from tests.helpers.bodies import asymmetric_body, box, icosphere, random_tetrahedra, with_hole

# Same float32 operations in the same order; a compiler may round a division or a dot product differently.
HEIGHT_TOLERANCE_VOXELS = 1e-3


def random_body():
    vertices, faces = random_tetrahedra(30, numpy.random.default_rng(5), extent=0.7)
    return numpy.rint(vertices * 32) / 32, faces  # many corners on voxel centres


MESHES = {
    "sphere": icosphere(4),
    "asymmetric": asymmetric_body(),
    "hole": with_hole(icosphere(3), (1.0, 0.3, -0.2), 15),
    "random": random_body(),
    "degenerate": (box((0, 0, 0), (1, 2, 3))[0], numpy.array([(0, 0, 1), (3, 3, 3), (0, 1, 7)], dtype=numpy.int32)),
    "empty": (box((0, 0, 0), (1, 2, 3))[0], numpy.zeros((0, 3), dtype=numpy.int32)),
}


@pytest.mark.parametrize("grid_size", [33, 64])
@pytest.mark.parametrize("name", MESHES)
def test_kernels_voxelize_as_the_cpu_to_the_voxel(xp, name, grid_size):
    vertices, faces = MESHES[name]
    placement = placement_of_mesh(vertices, grid_size)
    expected = voxelize_mesh(vertices, faces, placement)
    numpy.testing.assert_array_equal(to_numpy(voxelize_mesh(vertices, faces, placement, xp)), expected)


def test_kernels_cut_off_a_body_beyond_the_grid_as_the_cpu(xp):
    vertices, faces = random_tetrahedra(20, numpy.random.default_rng(6), extent=60.0)
    placement = GridPlacement(numpy.zeros(3), 1.0, 48)
    expected = voxelize_mesh(vertices, faces, placement)
    assert 0 < expected.mean() < 1
    numpy.testing.assert_array_equal(to_numpy(voxelize_mesh(vertices, faces, placement, xp)), expected)


@pytest.mark.parametrize(("grid_size", "target_size"), [(64, 32), (64, 8), (30, 10)])
def test_kernels_downsample_as_the_cpu_to_the_voxel(xp, grid_size, target_size):
    occupancy = numpy.random.default_rng(0).integers(0, 2, (grid_size,) * 3, dtype=numpy.uint8)
    expected = downsample_majority(occupancy, target_size)
    numpy.testing.assert_array_equal(to_numpy(downsample_majority(xp.asarray(occupancy), target_size, xp)), expected)


def test_the_array_module_packs_and_unpacks_as_numpy(xp):
    occupancy = numpy.random.default_rng(0).integers(0, 2, (8, 8, 16), dtype=numpy.uint8)
    packed = pack_occupancy(xp.asarray(occupancy), xp)
    numpy.testing.assert_array_equal(to_numpy(packed), pack_occupancy(occupancy))
    numpy.testing.assert_array_equal(to_numpy(unpack_occupancy(packed, xp)), occupancy)


@pytest.mark.parametrize("name", ["sphere", "asymmetric", "random"])
def test_kernels_render_as_the_cpu(xp, name):
    vertices, faces = MESHES[name]
    occupancy = voxelize_mesh(vertices, faces, placement_of_mesh(vertices, 64))
    rotations = numpy.concatenate([numpy.eye(3, dtype=numpy.float32)[None], random_rotations(5, 0, name)])
    pixel_size = field_of_view_nm(occupancy, 1.0) / 80
    expected = render_heights(occupancy, rotations, 1.0, pixel_size, 80)
    heights = to_numpy(render_heights(xp.asarray(occupancy), rotations, 1.0, pixel_size, 80, xp))
    is_close = numpy.abs(heights - expected) <= HEIGHT_TOLERANCE_VOXELS
    # A ray that grazes the body may hit in one rounding and miss in the other.
    assert is_close.mean() > 0.9999


def test_kernels_find_the_thickness_of_the_cpu(xp):
    vertices, faces = MESHES["asymmetric"]
    occupancy = voxelize_mesh(vertices, faces, placement_of_mesh(vertices, 32))
    rotations = random_rotations(3, 0, "thickness")
    expected = thickness_maps(prepare_body(occupancy), rotations, 0.5, 0.6, 48)
    thickness = thickness_maps(prepare_body(xp.asarray(occupancy), xp), rotations, 0.5, 0.6, 48, xp)
    numpy.testing.assert_allclose(to_numpy(thickness), expected, atol=HEIGHT_TOLERANCE_VOXELS)
    assert expected.max() > 1


@pytest.mark.parametrize(("num_atoms", "grid_size"), [(1, 40), (60, 64), (300, 72)])
def test_kernels_make_the_solvent_excluded_solid_of_the_cpu_to_the_voxel(xp, num_atoms, grid_size):
    rng = numpy.random.default_rng(num_atoms)
    positions_nm, radii_nm = rng.uniform(-1, 1, (num_atoms, 3)), rng.choice([0.152, 0.17], num_atoms)
    placement = placement_of_atoms(positions_nm, radii_nm, grid_size)
    expected = solvent_excluded_occupancy(positions_nm, radii_nm, placement)
    assert expected.any()
    solid = solvent_excluded_occupancy(positions_nm, radii_nm, placement, xp)
    numpy.testing.assert_array_equal(to_numpy(solid), expected)


def test_kernels_scan_with_a_tip_as_the_cpu_to_the_bit(xp):
    height_nm = (numpy.random.default_rng(0).random((3, 20, 27)) ** 3 * 5).astype(numpy.float32)
    expected = scan(height_nm, Tip(1.0), 0.4)
    numpy.testing.assert_array_equal(to_numpy(scan(xp.asarray(height_nm), Tip(1.0), 0.4, xp)), expected)


@pytest.mark.parametrize("rendering", ["height", "density"])
@pytest.mark.parametrize("surface", ["pymol", "ses"])
def test_a_whole_sample_of_the_kernels_is_that_of_the_cpu(xp, surface, rendering):
    vertices, faces = MESHES["asymmetric"]
    shape = (
        SurfaceMesh(vertices, faces)
        if surface == "pymol"
        else AtomSpheres(numpy.random.default_rng(2).uniform(-1, 1, (80, 3)), numpy.full(80, 0.17))
    )
    config = BuildConfig(surface=surface, rendering=rendering, grid_size=64, image_size=40, num_views=3)
    expected, sample = make_sample(shape, "body", config), make_sample(shape, "body", config, xp)
    for name in ("occupancy", "occupancy_fine", "view_rotation"):
        numpy.testing.assert_array_equal(sample.arrays[name], expected.arrays[name])
    views = VIEW_ARRAY_OF_RENDERING[rendering]
    assert expected.arrays[views].max() > 50
    differences = numpy.abs(sample.arrays[views].astype(int) - expected.arrays[views])
    assert (differences <= 1).mean() > 0.9999
    assert sample.pixel_size_nm == expected.pixel_size_nm


def test_kernels_find_the_field_of_view_of_the_cpu_and_nothing_in_an_empty_grid(xp):
    occupancy = xp.zeros((16, 16, 16), dtype=xp.uint8)
    assert not to_numpy(render_heights(occupancy, random_rotations(2, 0, "a"), 1.0, 1.0, 8, xp)).any()
    occupancy[3, 4, 5] = 1
    assert field_of_view_nm(occupancy, 1.0, xp) == field_of_view_nm(to_numpy(occupancy), 1.0)
    assert render_heights(occupancy, numpy.zeros((0, 3, 3)), 1.0, 1.0, 8, xp).shape == (0, 8, 8)
