"""The solvent-excluded solid against closed forms, a distance transform and PyMOL's surface."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, label

from afmsim.pymol_surface import surface_mesh
from afmsim.solvent_surface import (
    PROBE_RADIUS_NM,
    ball_rows,
    lag_voxels,
    placement_of_atoms,
    solvent_excluded_occupancy,
)
from afmsim.structure import read_structure
from afmsim.voxelize import GridPlacement, downsample_majority, voxelize_mesh


def solid_by_distance_transform(positions_nm, radii_nm, placement):
    """The plain way: all voxels against all atoms, then SciPy's exact distance transform, on a grid with a margin."""
    margin = int(PROBE_RADIUS_NM / placement.voxel_size_nm) + 3
    along = numpy.arange(-margin, placement.grid_size + margin) - (placement.grid_size - 1) / 2
    z, y, x = numpy.meshgrid(along, along, along, indexing="ij")
    outside = numpy.ones(x.shape, dtype=bool)
    centers = (positions_nm - placement.center_xyz_nm) / placement.voxel_size_nm
    probe = PROBE_RADIUS_NM / placement.voxel_size_nm
    for (center_x, center_y, center_z), radius in zip(centers, radii_nm / placement.voxel_size_nm, strict=True):
        outside &= (x - center_x) ** 2 + (y - center_y) ** 2 + (z - center_z) ** 2 > (radius + probe) ** 2
    threshold = probe + lag_voxels(probe, float(numpy.median(radii_nm)) / placement.voxel_size_nm)
    solid = distance_transform_edt(~outside) > threshold
    return solid[margin:-margin, margin:-margin, margin:-margin]


def random_atoms(rng, num_atoms, extent_nm):
    return rng.uniform(-extent_nm, extent_nm, (num_atoms, 3)), rng.choice([0.152, 0.17, 0.18], num_atoms)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_atoms=st.integers(1, 40),
    extent_nm=st.floats(0, 1.5),
    grid_size=st.sampled_from([8, 24, 40, 64]),
)
def test_the_solid_is_that_of_the_distance_transform(seed, num_atoms, extent_nm, grid_size):
    positions_nm, radii_nm = random_atoms(numpy.random.default_rng(seed), num_atoms, extent_nm)
    placement = placement_of_atoms(positions_nm, radii_nm, grid_size)
    solid = solvent_excluded_occupancy(positions_nm, radii_nm, placement)
    expected = solid_by_distance_transform(positions_nm, radii_nm, placement)
    # The reference computes in float64: a centre that lies on a sphere to seven digits may fall to either side of it.
    assert (solid != expected).mean() < 1e-3
    assert solid.dtype == numpy.uint8


@pytest.mark.parametrize(("voxel_size_nm", "tolerance"), [(0.01, 0.01), (0.02, 0.02), (0.04, 0.04)])
def test_the_volume_of_one_atom_is_that_of_its_sphere(voxel_size_nm, tolerance):
    rng = numpy.random.default_rng(0)
    volumes_nm3 = []
    for _ in range(20):  # over positions between voxels
        placement = GridPlacement(rng.uniform(-0.5, 0.5, 3) * voxel_size_nm, voxel_size_nm, 48)
        solid = solvent_excluded_occupancy(numpy.zeros((1, 3)), numpy.array([0.17]), placement)
        volumes_nm3.append(solid.sum() * voxel_size_nm**3)
    assert numpy.mean(volumes_nm3) == pytest.approx(4 / 3 * numpy.pi * 0.17**3, rel=tolerance)


def test_the_probe_rounds_the_gap_between_two_atoms():
    """Two spheres of radius r at a distance 2c: the neck between them is a torus, its waist h - p wide.

    The probe that touches both has its centre at the height ``h = sqrt((r + p)^2 - c^2)`` above the middle.
    """
    radius_nm, half_distance_nm, probe_nm = 0.17, 0.2, PROBE_RADIUS_NM
    waist_nm = numpy.sqrt((radius_nm + probe_nm) ** 2 - half_distance_nm**2) - probe_nm
    positions_nm = numpy.array([[-half_distance_nm, 0, 0], [half_distance_nm, 0, 0]])
    placement = GridPlacement(numpy.zeros(3), 0.005, 160)
    solid = solvent_excluded_occupancy(positions_nm, numpy.full(2, radius_nm), placement)
    middle = solid[:, :, 80]  # (z, y)
    assert numpy.sqrt(middle.sum() / numpy.pi) * 0.005 == pytest.approx(waist_nm, abs=0.005)


def test_far_atoms_stay_apart_and_a_hollow_shell_keeps_its_hollow():
    placement = placement_of_atoms(numpy.array([[0, 0, 0], [2.0, 0, 0]]), numpy.full(2, 0.17), 64)
    solid = solvent_excluded_occupancy(numpy.array([[0, 0, 0], [2.0, 0, 0]]), numpy.full(2, 0.17), placement)
    assert label(solid)[1] == 2
    directions = numpy.random.default_rng(0).normal(size=(3000, 3))
    shell_nm = directions / numpy.linalg.norm(directions, axis=1, keepdims=True)
    radii_nm = numpy.full(3000, 0.17)
    solid = solvent_excluded_occupancy(shell_nm, radii_nm, placement_of_atoms(shell_nm, radii_nm, 64))
    assert solid[32, 32, 32] == 0
    assert label(numpy.pad(solid, 1) == 0)[1] == 2  # the hollow and the outside, no leak between them


def test_the_solid_fills_the_box_of_its_grid():
    rng = numpy.random.default_rng(3)
    positions_nm, radii_nm = random_atoms(rng, 200, 1.0)
    placement = placement_of_atoms(positions_nm, radii_nm, 128)
    solid = solvent_excluded_occupancy(positions_nm, radii_nm, placement)
    extents = [numpy.flatnonzero(solid.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert max(extent[-1] - extent[0] + 1 for extent in extents) >= 126


@pytest.mark.parametrize("name", ["1aar", "1v74", "1igc"])
def test_the_solid_agrees_with_that_of_pymol(example_structures, name):
    structure = read_structure(example_structures / f"{name}.pdb.gz")
    placement = placement_of_atoms(structure.positions_nm, structure.radii_nm, 256)
    solid = solvent_excluded_occupancy(structure.positions_nm, structure.radii_nm, placement)
    mesh = surface_mesh(structure.mmcif_text)
    expected = voxelize_mesh(mesh.vertices_nm, mesh.faces, placement)
    for size, least in ((256, 0.95), (32, 0.96)):
        first, second = (downsample_majority(grid, size) if size < 256 else grid for grid in (solid, expected))
        assert (first & second).sum() / (first | second).sum() > least


def test_the_rows_of_a_ball_are_its_voxels():
    for radius in (0.5, 1.0, 2.3, 5.9):
        ball = ball_rows(radius)
        reach = numpy.arange(-ball.radius, ball.radius + 1)
        z, y, x = numpy.meshgrid(reach, reach, reach, indexing="ij")
        num_voxels = 0
        for half_width in range(ball.radius + 1):
            rows = ball.first_of_width[half_width + 1] - ball.first_of_width[half_width]
            num_voxels += rows * (2 * half_width + 1)
        assert num_voxels == (x**2 + y**2 + z**2 <= radius**2).sum()


@pytest.mark.parametrize(
    ("positions_nm", "radii_nm", "message"),
    [
        (numpy.zeros((0, 3)), numpy.zeros(0), "no atoms"),
        (numpy.zeros((2, 3)), numpy.ones(3), r"expected \(atom, xyz\)"),
        (numpy.full((1, 3), numpy.nan), numpy.ones(1), "not finite"),
        (numpy.zeros((1, 3)), numpy.zeros(1), "not above 0"),
        (numpy.full((1, 3), 9.0), numpy.ones(1), "beyond the grid"),
    ],
)
def test_impossible_atoms_are_refused_in_words(positions_nm, radii_nm, message):
    with pytest.raises(ValueError, match=message):
        solvent_excluded_occupancy(positions_nm, radii_nm, GridPlacement(numpy.zeros(3), 0.1, 16))
