from pathlib import Path

import numpy as np
import pytest

from afmsim.pymol_surface import SurfaceError, surface_mesh, triangles_of_obj, weld
from afmsim.structure import read_structure

DATA = Path(__file__).parents[1] / "data"
EXAMPLES = Path(__file__).parents[2] / "examples" / "structures"

CIF_OF_ATOMS = """data_made
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
"""


def cif_of(*atoms):
    lines = [f"HETATM {n} {element} {element} XYZ A 1 {x} {y} {z}" for n, (element, x, y, z) in enumerate(atoms, 1)]
    return CIF_OF_ATOMS + "\n".join(lines) + "\n"


def enclosed_volume(mesh):
    corners = mesh.vertices_nm[mesh.faces]
    return np.einsum("fx,fx->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


@pytest.mark.parametrize(("element", "radius_nm"), [("C", 0.17), ("N", 0.155), ("O", 0.152), ("S", 0.18)])
def test_the_surface_of_one_atom_is_its_sphere(element, radius_nm):
    center_nm = np.array([1.2, -3.4, 5.6])
    mesh = surface_mesh(cif_of((element, *(center_nm * 10))), surface_quality=1)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices_nm - center_nm, axis=1), radius_nm, atol=2e-5)
    assert enclosed_volume(mesh) == pytest.approx(4 / 3 * np.pi * radius_nm**3, rel=0.05)


def test_axes_and_hand_are_the_file_s():
    atoms = [("C", 0, 0, 0), ("C", 30, 0, 0), ("C", 0, 60, 0), ("C", 0, 0, 90)]
    mesh = surface_mesh(cif_of(*atoms))
    np.testing.assert_allclose(mesh.vertices_nm.min(axis=0), -0.17, atol=2e-3)
    np.testing.assert_allclose(mesh.vertices_nm.max(axis=0), [3.17, 6.17, 9.17], atol=2e-3)


@pytest.mark.parametrize(
    "path",
    [DATA / "1g1j.pdb.gz", DATA / "1orc.pdb.gz", DATA / "3u7t.pdb.gz", EXAMPLES / "1avy.pdb.gz"],
    ids=lambda p: p.name,
)
def test_the_mesh_of_a_real_protein_encloses_every_atom_by_about_its_radius(path):
    structure = read_structure(path)
    mesh = surface_mesh(structure.mmcif_text)
    below_nm = structure.positions_nm.min(axis=0) - mesh.vertices_nm.min(axis=0)
    above_nm = mesh.vertices_nm.max(axis=0) - structure.positions_nm.max(axis=0)
    # At an extreme atom the surface is its sphere, sampled by points.
    assert (np.concatenate([below_nm, above_nm]) > 0.14).all()
    assert (np.concatenate([below_nm, above_nm]) < 0.20).all()


def test_the_volume_of_a_real_protein_is_that_of_its_mass():
    # Partial specific volume of proteins 0.73 cm3/g; a heavy atom weighs about 14.2 Da with its hydrogen.
    structure = read_structure(DATA / "1aar.pdb.gz")
    expected_nm3 = structure.num_atoms * 14.2 * 0.73 / 602.2
    assert enclosed_volume(surface_mesh(structure.mmcif_text)) == pytest.approx(expected_nm3, rel=0.1)


def test_modified_residues_take_part_in_the_surface():
    carbon, selenium_of_mse = ("C", 0, 0, 0), ("Se", 50, 0, 0)
    mesh = surface_mesh(cif_of(carbon, selenium_of_mse))
    assert mesh.vertices_nm[:, 0].max() == pytest.approx(5.19, abs=2e-3)


def test_a_second_protein_does_not_hold_the_first():
    surface_mesh(cif_of(("C", 500, 0, 0)))
    mesh = surface_mesh(cif_of(("C", 0, 0, 0)))
    assert np.abs(mesh.vertices_nm).max() < 0.2


def test_the_same_text_gives_the_same_mesh_after_other_proteins():
    first = surface_mesh(cif_of(("C", 1, 2, 3), ("N", 2, 3, 4)))
    surface_mesh(cif_of(("S", 9, 9, 9)), surface_quality=1)
    second = surface_mesh(cif_of(("C", 1, 2, 3), ("N", 2, 3, 4)))
    np.testing.assert_array_equal(first.vertices_nm, second.vertices_nm)
    np.testing.assert_array_equal(first.faces, second.faces)


def test_the_surface_of_two_touching_atoms_is_closed_and_welded():
    mesh = surface_mesh(cif_of(("C", 0, 0, 0), ("C", 1.5, 0, 0))).to_trimesh()
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert mesh.volume > 0


@pytest.mark.parametrize("text", ["", "data_empty\n", "import os\n", CIF_OF_ATOMS])
def test_text_without_atoms_is_refused(text):
    with pytest.raises(SurfaceError):
        surface_mesh(text)


def test_an_obj_text_gives_its_triangles_and_no_normals():
    text = "v 0 0 0\nv 1.5 0 0\nv 0 -2e1 0\nvn 0 0 1\nvn 0 0 1\nvn 0 0 1\nf 1//1 2//2 3//3\n"
    expected = [[[0, 0, 0], [1.5, 0, 0], [0, -20, 0]]]
    np.testing.assert_array_equal(triangles_of_obj(text * 2), expected * 2)
    assert triangles_of_obj("").shape == (0, 3, 3)


def test_welding_keeps_the_shape_of_every_triangle_and_shares_equal_corners():
    rng = np.random.default_rng(5)
    triangles = rng.integers(0, 3, size=(500, 3, 3)).astype(float)
    vertices, faces = weld(triangles)
    assert len(np.unique(vertices, axis=0)) == len(vertices) == 27
    is_degenerate = [len(np.unique(triangle, axis=0)) < 3 for triangle in triangles]
    np.testing.assert_array_equal(vertices[faces], triangles[~np.array(is_degenerate)])
