import gzip
import re
import tracemalloc
from pathlib import Path

import gemmi
import numpy as np
import pytest

from afmsim.structure import StructureError, protein_id_from_path, read_structure

DATA = Path(__file__).parents[1] / "data"
EXAMPLES = Path(__file__).parents[2] / "examples" / "structures"

BACKBONE = [("N", 0.0, 0.0, 0.0), ("CA", 1.46, 0.0, 0.0), ("C", 2.0, 1.42, 0.0), ("O", 1.25, 2.4, 0.0)]


def atom_line(
    name,
    x=0.0,
    y=0.0,
    z=0.0,
    residue="ALA",
    chain="A",
    number=1,
    record="ATOM",
    altloc=" ",
    occupancy=1.0,
    serial="    1",
    segment="    ",
    element=None,
):
    element = name[0] if element is None else element
    return (
        f"{record:<6}{serial:>5} {' ' + name:<4}{altloc}{residue:>3} {chain}{number:>4}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{0.0:6.2f}      {segment:<4}{element:>2}"
    )


def residue_lines(number=1, shift=0.0, **options):
    return [atom_line(name, x + shift, y, z, number=number, **options) for name, x, y, z in BACKBONE]


def write_pdb(folder, lines, name="made.pdb"):
    path = folder / name
    path.write_text("\n".join([*lines, "END"]) + "\n")
    return path


def test_positions_are_the_file_s_in_nanometre(tmp_path):
    structure = read_structure(write_pdb(tmp_path, [atom_line("CA", 12.5, -3.25, 100.125)]))
    np.testing.assert_allclose(structure.positions_nm, [[1.25, -0.325, 10.0125]])
    assert structure.positions_nm.dtype == np.float64


def test_radii_are_those_of_pymol():
    import pymol2

    structure = read_structure(DATA / "1g1j.pdb.gz")
    with pymol2.PyMOL() as pymol:
        pymol.cmd.feedback("disable", "all", "everything")
        pymol.cmd.load_raw(structure.mmcif_text, "cif", "protein")
        atoms = pymol.cmd.get_model("protein").atom
    radius_of_element = {atom.symbol.capitalize(): atom.vdw for atom in atoms}
    assert set(radius_of_element) == set(structure.elements) == {"C", "N", "O", "S", "Se"}
    expected = [radius_of_element[element] / 10 for element in structure.elements]
    np.testing.assert_allclose(structure.radii_nm, expected, rtol=1e-6)


def test_selenomethionine_stays_and_the_metal_ion_goes():
    structure = read_structure(DATA / "1g1j.pdb.gz")
    assert structure.elements.count("Se") == 2
    assert "Sr" not in structure.elements
    assert all("M" in sequence for sequence in structure.sequences)


def test_mmcif_and_pdb_of_one_entry_give_the_same_atoms():
    pdb, cif = (read_structure(DATA / name) for name in ("1g1j.pdb.gz", "1g1j_converted.cif.gz"))
    np.testing.assert_array_equal(pdb.positions_nm, cif.positions_nm)
    assert (pdb.elements, pdb.chain_names, pdb.sequences) == (cif.elements, cif.chain_names, cif.sequences)


@pytest.mark.parametrize("name", ["1aar.pdb.gz", "1g1j.pdb.gz", "1orc.pdb.gz", "3u7t.pdb.gz"])
def test_mmcif_text_holds_exactly_the_atoms(name):
    structure = read_structure(DATA / name)
    model = gemmi.make_structure_from_block(gemmi.cif.read_string(structure.mmcif_text).sole_block())[0]
    atoms = [atom for chain in model for residue in chain for atom in residue]
    np.testing.assert_allclose([atom.pos.tolist() for atom in atoms], structure.positions_nm * 10, atol=6e-4)
    assert [atom.element.name for atom in atoms] == list(structure.elements)
    assert [chain.name for chain in model] == list(structure.chain_names)


def test_an_insertion_keeps_its_place_in_the_sequence():
    assert "KDGEVKPFPSN" in read_structure(DATA / "1orc.pdb.gz").sequences[0]


def test_of_two_residues_in_one_place_the_more_occupied_one_stays():
    # Crambin has proline (0.47) or serine (0.53) at 22, isoleucine (0.61) or leucine (0.39) at 25.
    assert read_structure(DATA / "3u7t.pdb.gz").sequences == ("TTCCPSIVARSNFNVCRLPGTSEAICATYTGCIIIPGATCPGDYAN",)


def test_protein_bound_to_dna_is_read_without_the_dna():
    structure = read_structure(EXAMPLES / "1lmb.pdb.gz")
    assert structure.num_chains == 2
    assert "P" not in structure.elements


def test_every_example_is_a_complex_with_its_own_header():
    files = sorted(EXAMPLES.glob("*.pdb.gz"))
    assert len(files) == 32
    for file in files:
        assert gzip.decompress(file.read_bytes()).startswith(b"HEADER")
        assert read_structure(file).num_chains >= 2


def test_an_assembly_multiplies_the_chains_by_rigid_copies():
    alone, assembled = (read_structure(DATA / "1g1j.pdb.gz", assembly=name) for name in (None, "1"))
    assert (alone.num_chains, assembled.num_chains) == (2, 4)
    assert len(set(assembled.chain_names)) == 4
    # REMARK 350 of this entry: x, y -> 34.917 - x, 35.908 - y.
    copies = np.concatenate([alone.positions_nm, [3.4917, 3.5908, 0] + [-1, -1, 1] * alone.positions_nm])
    for made, expected in zip(
        *(sorted(map(tuple, part.round(5))) for part in (assembled.positions_nm, copies)), strict=True
    ):
        np.testing.assert_allclose(made, expected, atol=2e-5)


def test_an_assembly_that_the_file_does_not_have_leaves_the_chains_as_they_are():
    alone, assembled = (read_structure(DATA / "1aar.pdb.gz", assembly=name) for name in (None, "77"))
    np.testing.assert_array_equal(alone.positions_nm, assembled.positions_nm)


@pytest.mark.parametrize(("occupancy_of_b", "kept_x"), [(0.6, 9.0), (0.4, 1.0), (0.5, 1.0)])
def test_the_alternate_of_higher_occupancy_stays_and_the_first_letter_on_a_tie(tmp_path, occupancy_of_b, kept_x):
    first = 1 - occupancy_of_b
    lines = [
        atom_line("CB", 9, altloc="B", occupancy=occupancy_of_b),
        atom_line("CB", 1, altloc="A", occupancy=first),
        atom_line("CA", 5),
    ]
    structure = read_structure(write_pdb(tmp_path, lines))
    assert sorted(structure.positions_nm[:, 0] * 10) == sorted([kept_x, 5.0])


def test_water_ligands_ions_and_free_amino_acids_are_left_out(tmp_path):
    far = {"record": "HETATM", "chain": "A"}
    lines = [
        *residue_lines(),
        atom_line("O", 30, residue="HOH", number=2, **far),
        atom_line("CA", 40, residue=" CA", number=3, element="CA", **far),
        atom_line("C1", 50, residue="GOL", number=4, **far),
        *residue_lines(number=5, shift=60, residue="GLU", **far),
    ]
    assert read_structure(write_pdb(tmp_path, lines)).num_atoms == 4


def test_a_modified_residue_without_a_known_name_stays_where_it_is_bonded(tmp_path):
    lines = [
        *residue_lines(),
        atom_line("N1", 3.3, 1.5, residue="XYZ", number=2, record="HETATM"),
        atom_line("C2", 4.0, 2.7, residue="XYZ", number=2, record="HETATM"),
    ]
    structure = read_structure(write_pdb(tmp_path, lines))
    assert (structure.num_atoms, structure.sequences) == (6, ("AX",))


def test_hydrogen_and_deuterium_are_left_out(tmp_path):
    lines = [*residue_lines(), atom_line("H", 1), atom_line("D", 2), atom_line("HB1", 3, element="")]
    assert read_structure(write_pdb(tmp_path, lines)).num_atoms == 4


def test_only_the_first_model_is_read_even_without_its_end(tmp_path):
    models = ["MODEL        1", *residue_lines(), "MODEL        2", *residue_lines(shift=50)]
    structure = read_structure(write_pdb(tmp_path, models))
    assert structure.num_atoms == 4
    assert structure.positions_nm.max() < 1


ODD_LINES = {
    "digits in the charge columns": lambda line: line + "28",
    "an old entry name in the columns of segment, element and charge": lambda line: line[:72] + "2SPC 100",
    "no element": lambda line: line[:66],
    "no occupancy": lambda line: line[:54],
    "asterisks as serial number": lambda line: line[:6] + "*****" + line[11:],
    "carriage returns": lambda line: line + "\r",
    "doubled carriage returns": lambda line: line + "\r\r",
    "trailing spaces and a tab": lambda line: line + "    \t",
    "atom names one column to the left": lambda line: f"{line[:12]}{line[13:16]} {line[16:66]}",
}


@pytest.mark.parametrize("oddity", ODD_LINES)
def test_odd_columns_give_the_same_atoms(tmp_path, oddity):
    plain = [*residue_lines(), *residue_lines(number=2, shift=3.3)]
    odd = read_structure(write_pdb(tmp_path, map(ODD_LINES[oddity], plain)))
    expected = read_structure(write_pdb(tmp_path, plain))
    assert odd.elements == expected.elements == ("N", "C", "C", "O") * 2
    np.testing.assert_array_equal(odd.positions_nm, expected.positions_nm)


def test_blank_chain_names_are_replaced_by_segments_or_a_letter(tmp_path):
    without = write_pdb(tmp_path, residue_lines(chain=" "), "without.pdb")
    segments = [*residue_lines(chain=" ", segment="PROA"), *residue_lines(chain=" ", segment="PROB", shift=20)]
    assert read_structure(without).chain_names == ("A",)
    assert read_structure(write_pdb(tmp_path, segments)).chain_names == ("PROA", "PROB")


def test_latin_1_in_a_remark_does_no_harm(tmp_path):
    path = tmp_path / "latin.pdb"
    path.write_bytes("REMARK Universität, 1.5 Å\n".encode("latin-1") + "\n".join(residue_lines()).encode())
    assert read_structure(path).num_atoms == 4


def test_coordinates_inside_a_web_page_are_read_and_a_mere_web_page_is_refused(tmp_path):
    wrapped = ["<head><title>domain</title></head><body><pre>HEADER  X", *residue_lines(), "</pre></body>"]
    assert read_structure(write_pdb(tmp_path, wrapped)).num_atoms == 4
    with pytest.raises(StructureError, match="web page"):
        read_structure(write_pdb(tmp_path, ["<!DOCTYPE html><html><body>404 not found</body></html>"]))


@pytest.mark.parametrize(
    "compress", [gzip.compress, bytes, lambda text: gzip.compress(text[:99]) + gzip.compress(text[99:])]
)
@pytest.mark.parametrize("name", ["made.pdb", "made.pdb.gz", "made.ENT.gz", "made.cif"])
def test_compression_is_known_by_content_not_by_name(tmp_path, compress, name):
    text = read_structure(DATA / "1orc.pdb.gz").mmcif_text if ".cif" in name else "\n".join(residue_lines())
    path = tmp_path / name
    path.write_bytes(compress(text.encode()))
    assert read_structure(path).num_atoms == (read_structure(DATA / "1orc.pdb.gz").num_atoms if ".cif" in name else 4)


REFUSED = {
    "nothing.pdb": (b"", "is empty"),
    "binary.pdb": (b"ATOM\0\0", "binary"),
    "packed.pdb": (b"\xfd7zXZ\x00...", "is xz data"),
    "cut.pdb.gz": (gzip.compress(b"ATOM" * 100)[:-12], "damaged gzip"),
    "model.mmtf": (b"\x8b", "unknown format"),
    "model.pdb.xz": (b"\xfd7zXZ\x00", "expected a name that ends in .pdb, .ent, .cif, .mmcif"),
    "ligand.pdb": (
        atom_line("C1", residue="BEN", record="HETATM").encode(),
        "has no protein atoms: its residues are BEN",
    ),
    "dna.pdb": (atom_line("P", residue=" DA").encode(), "has no protein atoms"),
    "remarks.pdb": (b"REMARK nothing else\n", "no coordinates at all"),
    "hydrogen.pdb": (atom_line("H").encode(), "has no protein atoms"),
    "tabs.pdb": (b"ATOM      1  N   ALA A   1\t0.0\t1.0\t 2.0  1.00 0.00\tN\n", "line 1: expected three coordinates"),
    "cut.pdb": (atom_line("N")[:40].encode(), "line 1: expected three coordinates"),
    "nan.pdb": (atom_line("N", float("nan")).encode(), "coordinates that are no numbers"),
    "headless.cif": (b"loop_\n_atom_site.id\n1\n", "does not begin with data_"),
    "molecule.cif": (b"data_x\n_cell_length_a 3\n", "no coordinates at all"),
    "broken.cif": (b"data_x\nloop_\n_atom_site.id\n_atom_site.type_symbol\n1\n", "no readable PDB or mmCIF"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path, name):
    content, message = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StructureError, match=re.escape(message)) as refusal:
        read_structure(path)
    assert repr(name) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(StructureError, match="No such file"):
        read_structure(tmp_path / "absent.pdb")


def test_a_gzip_bomb_is_stopped_before_it_fills_the_memory(tmp_path):
    bomb = tmp_path / "bomb.pdb.gz"
    bomb.write_bytes(gzip.compress(b" " * 200_000_000))
    tracemalloc.start()
    with pytest.raises(StructureError, match="raise max_bytes"):
        read_structure(bomb, max_bytes=5_000_000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20_000_000


def test_too_many_atoms_are_refused_before_copies_are_made():
    with pytest.raises(StructureError, match="raise max_atoms"):
        read_structure(DATA / "1g1j.pdb.gz", assembly="1", max_atoms=1000)


@pytest.mark.parametrize(
    ("path", "protein_id"),
    [
        ("1abc.pdb", "1abc"),
        ("folder/1ABC.ent.GZ", "1ABC"),
        ("model_1.2.cif.gz", "model_1.2"),
        ("../x.pdb", "x"),
        ("-rf.pdb", "rf"),
        ("...pdb", "unnamed"),
        ("..", "unnamed"),
        ('a b,"c"\n;=d.pdb', "a_b_c_d"),
        ("éß.mmcif", "_"),
        ("x" * 300 + ".pdb", "x" * 100),
    ],
)
def test_a_protein_id_is_safe_as_file_name_argument_and_csv_field(path, protein_id):
    assert protein_id_from_path(Path(path)) == protein_id


def test_a_link_is_read_under_its_own_name(tmp_path):
    link = tmp_path / "linked.pdb.gz"
    link.symlink_to(DATA / "1aar.pdb.gz")
    assert read_structure(link).protein_id == "linked"
