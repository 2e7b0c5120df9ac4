"""Damage is found, named by protein, and only that is mended."""

import shutil
from pathlib import Path

import pytest

from afmsim.dataset import open_dataset
from afmsim.verify import find_damage, main
from tests.helpers.builds import copy_structures, finish_build
from tests.helpers.stores import array_digests

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def whole(example_structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged store of six proteins in three shards."""
    files = sorted(example_structures.glob("*.gz"), key=lambda path: path.stat().st_size)[:6]
    structures = copy_structures(files, tmp_path_factory.mktemp("verify") / "structures")
    store = structures.parent / "whole.zarr"
    result = finish_build(structures, store)
    assert result.returncode == 0, result.stderr
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "dataset.zarr"))


def shard(store: Path, name: str, number: int) -> Path:
    (path,) = (path for path in (store / name / "c" / str(number)).rglob("*") if path.is_file())
    return path


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[10] ^= 4
    path.write_bytes(content)


def test_a_whole_store_has_no_damage(whole: Path) -> None:
    assert find_damage(whole) == {}
    assert main(["--store", str(whole)]) == 0


def test_one_flipped_bit_is_found_in_its_protein(store: Path) -> None:
    flip_one_bit(shard(store, "occupancy", 1))
    problems = find_damage(store)
    assert len(problems) == 1
    assert set(problems) <= {2, 3}
    assert "occupancy" in next(iter(problems.values()))


def test_every_single_byte_of_a_shard_is_guarded(store: Path) -> None:
    path = shard(store, "occupancy", 0)
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        assert set(find_damage(store)) & {0, 1}, place


def test_a_missing_shard_and_a_truncated_one_are_found(store: Path) -> None:
    shard(store, "height", 0).unlink()
    cut = shard(store, "occupancy_fine", 2)
    cut.write_bytes(cut.read_bytes()[:-100])
    problems = find_damage(store)
    assert set(problems) == {0, 1, 4, 5}
    assert "missing" in problems[0]


def test_a_table_that_disagrees_with_the_arrays_is_found(store: Path) -> None:
    table = store / "proteins.csv"
    table.write_text(table.read_text().replace(",done,", ",failed,", 1))
    assert list(find_damage(store)) == [0]


def test_repair_mends_the_damage_and_touches_nothing_else(whole: Path, store: Path) -> None:
    flip_one_bit(shard(store, "occupancy", 1))
    shard(store, "height", 2).unlink()
    untouched = {path: path.stat().st_mtime_ns for path in (store / "occupancy_fine" / "c" / "0").rglob("*")}
    assert main(["--store", str(store)]) == 1
    assert main(["--store", str(store), "--repair"]) == 0
    assert array_digests(store) == array_digests(whole)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert list(open_dataset(store).status) == [1] * 6


def test_what_is_no_store_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path)]) == 2
    assert "expected a Zarr v3 store" in capsys.readouterr().err
