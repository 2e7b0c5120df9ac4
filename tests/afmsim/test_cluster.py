import csv
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afmsim.cluster import main
from afmsim.relatives import group_names, linked_groups, relatives_by_file, relatives_by_sequence
from tests.helpers.tiny_store import write_tiny_store

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def random_sequence(rng: np.random.Generator, length: int = 250) -> str:
    return "".join(rng.choice(LETTERS, length))


def mutated(rng: np.random.Generator, sequence: str, identity: float) -> str:
    return "".join(letter if rng.random() < identity else rng.choice(LETTERS) for letter in sequence)


def clusters_of(store) -> list[str]:
    with (store / "proteins.csv").open(newline="") as file:
        return [row["cluster"] for row in csv.DictReader(file)]


@settings(deadline=None)
@given(num_items=st.integers(1, 30), data=st.data())
def test_linked_items_share_a_group_and_a_group_is_named_by_its_first(num_items, data):
    item = st.integers(0, num_items - 1)
    links = data.draw(st.lists(st.tuples(item, item), max_size=40))
    groups = linked_groups(num_items, links)
    assert all(groups[first] == groups[second] for first, second in links)
    assert all(groups[group] == group for group in groups)
    assert (groups <= np.arange(num_items)).all()


def test_without_links_everything_is_alone():
    assert linked_groups(4, []).tolist() == [0, 1, 2, 3]


def test_mutants_with_70_percent_identity_are_found_and_strangers_are_not():
    rng = np.random.default_rng(0)
    families = [random_sequence(rng) for _ in range(40)]
    proteins = [[family] for family in families] + [[mutated(rng, family, 0.7)] for family in families]
    assert relatives_by_sequence(proteins).tolist() == list(range(40)) * 2


def test_long_strangers_are_no_relatives():
    rng = np.random.default_rng(1)
    proteins = [[random_sequence(rng, 3000)] for _ in range(12)] + [[random_sequence(rng, 30)] for _ in range(12)]
    assert relatives_by_sequence(proteins).tolist() == list(range(24))


def test_complexes_are_relatives_when_a_path_of_chains_joins_them():
    rng = np.random.default_rng(2)
    first, second, third = (random_sequence(rng) for _ in range(3))
    assert relatives_by_sequence([[first], [third], [second, first], [second]]).tolist() == [0, 1, 0, 0]


def test_equal_peptides_are_relatives_and_unknown_residues_are_not():
    assert relatives_by_sequence([["ACDK"], ["ACDK"], ["X" * 50], ["Z" * 40 + "X" * 20], []]).tolist() == [
        0,
        0,
        2,
        3,
        4,
    ]


def test_a_cluster_file_joins_entries_by_any_of_their_entities():
    lines = ["4HHB_1 1A00_1 9XYZ_7", "4HHB_2", "1LYZ_1 AF_AFP00698F1_1", "1A00_2 2ABC_1"]
    groups, absent = relatives_by_file(["1lyz", "4hhb", "2abc-assembly1", "1A00", "3new"], lines)
    assert groups.tolist() == [0, 1, 1, 1, 4]
    assert absent == ["3new"]


def test_a_group_is_named_alphabetically_whatever_the_order():
    assert group_names(["c", "a", "b"], np.array([0, 0, 2])) == ["a", "a", "b"]


def test_the_command_fills_the_column_from_a_file_and_leaves_the_rest(tmp_path):
    store = write_tiny_store(tmp_path / "tiny.zarr", num_proteins=3)
    before = (store / "proteins.csv").read_text()
    file = tmp_path / "clusters-by-entity-30.txt"
    file.write_text("BODY00_1 BODY02_1\nBODY01_1\n")
    assert main(["--store", str(store), "--clusters", str(file)]) == 0
    assert clusters_of(store) == ["body00", "body01", "body00", "body03"]
    assert (store / "proteins.csv").read_text().replace(",body00,done", ",,done").replace(
        ",body01,done", ",,done"
    ).replace(",body03,failed", ",,failed") == before


def test_missing_files_are_one_sentence(tmp_path, capsys):
    store = write_tiny_store(tmp_path / "tiny.zarr", num_proteins=3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1abc.pdb").write_text("")
    assert main(["--store", str(store), "--structures", str(tmp_path / "other")]) == 2
    assert "without 4 of them, such as body00.cif; name the right one with --structures" in capsys.readouterr().err
    assert main(["--store", str(store), "--clusters", str(tmp_path / "absent.txt")]) == 2
    assert "absent.txt" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["numpy", "scipy", "gemmi", "zarr"])
def test_help_imports_nothing_heavy(name):
    program = f"import sys, afmsim.cluster\nafmsim.cluster.build_parser()\nassert {name!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
