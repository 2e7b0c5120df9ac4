"""Hostile names and archives: each file ends as one sentence or as a right sample, and touches nothing else."""

import csv
import os
from pathlib import Path

import pytest

from tests.helpers.hostile_files import write_hostile_files
from tests.helpers.ranks import run_ranks

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """Build the hostile batch; return expectations, rows by file, and the folder around it all."""
    around = tmp_path_factory.mktemp("hostile")
    expected = write_hostile_files(around / "in", (DATA / "1orc.pdb.gz").read_bytes())
    os.mkfifo(around / "pipe.pdb")
    names = sorted(path.name for path in (around / "in").iterdir())
    listed = around / "list.txt"
    # What a list can name beyond what a folder holds: ways out of it, a device, a pipe nobody writes to, a folder.
    extra = {
        "../../../../../etc/passwd": "format",
        "/dev/zero": "format",
        "pipe.pdb": "no regular file",
        "in": "format",
        "--help": "format",
    }
    one_line = [name for name in names if "\n" not in name]
    listed.write_bytes(b"".join(os.fsencode(f"in/{name}") + b"\n" for name in one_line))
    with listed.open("a") as file:
        file.writelines(f"{name}\n" for name in extra)
    store = around / "out" / "dataset.zarr"
    store.parent.mkdir()
    common = ["-m", "afmsim.build", "--grid-size=32", "--image-size=16", "--num-views=2", "--protein-timeout-s=60"]
    result = run_ranks(0, *common, f"--structures={listed}", f"--store={store}")
    assert result.returncode == 1, result.stderr
    folder_store = around / "out" / "folder.zarr"
    result = run_ranks(0, *common, f"--structures={around / 'in'}", f"--store={folder_store}")
    assert result.returncode == 1, result.stderr
    rows = {}
    for path in (folder_store, store):
        with (path / "proteins.csv").open(newline="", encoding="utf-8") as file:
            rows |= {row["source_file"].removeprefix("in/"): row for row in csv.DictReader(file)}
    return {**expected, **extra}, rows, around


def test_each_file_ends_as_one_sentence_or_as_a_sample(outcome) -> None:
    expected, rows, _ = outcome
    assert set(rows) == set(expected)
    for name, word in expected.items():
        row = rows[name]
        if word == "done":
            assert row["status"] == "done", row
        else:
            assert row["status"] == "failed", row
            assert word in row["reason"], row
            assert len(row["reason"]) > 20, row


def test_nothing_is_written_outside_the_store(outcome) -> None:
    _, _, around = outcome
    assert sorted(path.name for path in around.iterdir()) == ["in", "list.txt", "out", "pipe.pdb"]
    assert sorted(path.name for path in (around / "out").iterdir()) == ["dataset.zarr", "folder.zarr"]
    assert not [path for path in around.rglob("*pwned") if path.name == "pwned"]
    assert not Path("pwned").exists()


def test_ids_are_unique_safe_names(outcome) -> None:
    _, _, around = outcome
    with (around / "out" / "folder.zarr" / "proteins.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["protein_id"] for row in csv.DictReader(file)]
    assert len(set(ids)) == len(ids)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in ids)
    assert not [name for name in ids if name.startswith((".", "-"))]
