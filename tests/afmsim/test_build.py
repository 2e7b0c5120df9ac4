import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from afmsim.dataset import DONE, FAILED, open_dataset
from afmsim.pymol_surface import surface_mesh
from afmsim.structure import read_structure
from afmsim.voxelize import placement_of_mesh, voxelize_mesh
from tests.helpers.ranks import mpiexec_command, run_ranks
from tests.helpers.stores import array_digests

SMALL = ["--grid-size=64", "--image-size=48", "--num-views=3", "--shard-size=2"]


def build(num_ranks: int, structures: Path, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    launched = ["-m", "mpi4py"] if num_ranks else []
    return run_ranks(
        num_ranks, *launched, "-m", "afmsim.build", f"--structures={structures}", f"--store={store}", *SMALL, *more
    )


@pytest.fixture(scope="module")
def five_files(example_structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of the five smallest shipped complexes."""
    files = sorted(example_structures.glob("*.gz"), key=lambda path: path.stat().st_size)[:5]
    listed = tmp_path_factory.mktemp("list") / "structures.txt"
    listed.write_text("".join(f"{path}\n" for path in files))
    return listed


@pytest.fixture(scope="module")
def built(five_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store built by one process without MPI."""
    store = tmp_path_factory.mktemp("built") / "dataset.zarr"
    result = build(0, five_files, store)
    assert result.returncode == 0, result.stderr
    return store


@pytest.mark.mpi
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_any_number_of_ranks_gives_the_same_bytes(
    num_ranks: int, five_files: Path, built: Path, tmp_path: Path
) -> None:
    store = tmp_path / "dataset.zarr"
    result = build(num_ranks, five_files, store)
    assert result.returncode == 0, result.stderr
    assert array_digests(store) == array_digests(built)


@pytest.mark.mpi
def test_a_build_without_a_mesh_gives_the_same_bytes_on_two_ranks(
    five_files: Path, built: Path, tmp_path: Path
) -> None:
    for num_ranks in (0, 2):
        result = build(num_ranks, five_files, tmp_path / f"{num_ranks}.zarr", "--surface=ses")
        assert result.returncode == 0, result.stderr
    assert array_digests(tmp_path / "0.zarr") == array_digests(tmp_path / "2.zarr")
    of_atoms, of_pymol = open_dataset(tmp_path / "0.zarr"), open_dataset(built)
    for index in range(5):
        first, second = of_atoms.occupancy_fine(index), of_pymol.occupancy_fine(index)
        # Voxels here are larger than the probe, which is where the two differ most.
        assert (first & second).sum() / (first | second).sum() > 0.8


def test_every_protein_of_the_list_is_in_the_store(five_files: Path, built: Path) -> None:
    dataset = open_dataset(built)
    assert [row["source_file"] for row in dataset.table] == five_files.read_text().split()
    np.testing.assert_array_equal(dataset.status, DONE)
    for index in range(5):
        fine = dataset.occupancy_fine(index)
        heights_nm = dataset.heights_nm(index)
        assert fine.shape == (64, 64, 64)
        assert dataset.occupancy(index).shape == (32, 32, 32)
        longest_side = max(np.ptp(np.flatnonzero(fine.any(axis=axes))) + 1 for axes in ((1, 2), (0, 2), (0, 1)))
        assert longest_side >= 62
        assert 0 < heights_nm.max() <= dataset.field_of_view_nm(index)
        # The field of view holds the protein in every orientation: nothing reaches the border.
        for border in (heights_nm[:, 0], heights_nm[:, -1], heights_nm[:, :, 0], heights_nm[:, :, -1]):
            assert not border.any()


def test_a_finished_build_starts_nothing_again(five_files: Path, built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (built / "height").rglob("*")}
    result = build(0, five_files, built)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in (built / "height").rglob("*")} == before


def test_another_configuration_is_refused_and_named(five_files: Path, built: Path) -> None:
    result = build(0, five_files, built, "--seed=7")
    assert result.returncode == 2
    assert "seed was 0 and is now 7" in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_files_have_a_row_with_a_reason_and_the_good_one_is_built(five_files: Path, tmp_path: Path) -> None:
    good = Path(five_files.read_text().split()[0])
    (tmp_path / "empty.pdb").write_bytes(b"")
    (tmp_path / "page.pdb").write_text("<!DOCTYPE html><html><body>404 not found</body></html>\n")
    (tmp_path / "water.pdb").write_text(
        "HETATM    1  O   HOH A   1       1.000   2.000   3.000  1.00 10.00           O  \nEND\n"
    )
    listed = tmp_path / "list.txt"
    listed.write_text(f"empty.pdb\n{good}\npage.pdb\nwater.pdb\nmissing.pdb\n")
    store = tmp_path / "dataset.zarr"
    result = build(0, listed, store)
    assert result.returncode == 1, result.stderr
    with (store / "proteins.csv").open(newline="") as file:
        rows = {row["source_file"]: row for row in csv.DictReader(file)}
    assert rows[str(good)]["status"] == "done"
    for name in ("empty.pdb", "page.pdb", "water.pdb", "missing.pdb"):
        assert rows[name]["status"] == "failed"
        assert len(rows[name]["reason"]) > 20, rows[name]
    assert list(open_dataset(store).status) == [FAILED, DONE, FAILED, FAILED, FAILED]


@pytest.mark.mpi
def test_a_killed_build_continues_to_the_same_bytes(five_files: Path, built: Path, tmp_path: Path) -> None:
    store = tmp_path / "dataset.zarr"
    command = mpiexec_command(
        2, "-m", "mpi4py", "-m", "afmsim.build", f"--structures={five_files}", f"--store={store}", *SMALL
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and not any(path.stat().st_size for path in store.glob("journal/*/*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    result = build(2, five_files, store)
    assert result.returncode == 0, result.stderr
    assert array_digests(store) == array_digests(built)


@pytest.mark.slow
def test_the_pymol_mesh_stands_where_the_atoms_stand(example_structures: Path) -> None:
    for path in sorted(example_structures.glob("*.gz"))[::3][:10]:
        structure = read_structure(path)
        mesh = surface_mesh(structure.mmcif_text)
        assert (structure.positions_nm > mesh.vertices_nm.min(axis=0)).all(), path.name
        assert (structure.positions_nm < mesh.vertices_nm.max(axis=0)).all(), path.name
        placement = placement_of_mesh(mesh.vertices_nm)
        occupancy = voxelize_mesh(mesh.vertices_nm, mesh.faces, placement)
        offsets = (structure.positions_nm - placement.center_xyz_nm) / placement.voxel_size_nm
        x, y, z = np.rint(offsets + (placement.grid_size - 1) / 2).astype(int).T
        assert occupancy[z, y, x].mean() >= 0.99, path.name


@pytest.mark.parametrize("command", ["build", "preview", "export", "verify"])
def test_help_loads_nothing_heavy(command: str) -> None:
    heavy = "{'zarr', 'pymol2', 'pymol', 'numba', 'cupy', 'mpi4py', 'matplotlib', 'torch', 'gemmi', 'scipy'}"
    code = f"""
import sys
from afmsim.{command} import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--store" in result.stdout
