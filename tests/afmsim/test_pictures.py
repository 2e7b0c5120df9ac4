"""What a dataset shows: pictures that say their scale."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from afmsim import build, export, preview
from afmsim.dataset import open_dataset
from afmsim.isosurface import surface_of_occupancy
from afmsim.structure import read_structure
from afmsim.voxelize import GridPlacement
from hpc.zarr_store import StoreError
from tests.helpers.tiny_store import write_tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_store(tmp_path_factory.mktemp("pictures") / "tiny.zarr")


def test_heights_come_back_from_the_grey_values_of_a_png(store: Path, tmp_path: Path) -> None:
    assert export.main(["--store", str(store), "--format", "png", "--out", str(tmp_path)]) == 0
    dataset = open_dataset(store)
    names = [dataset.protein_ids[index] for index in dataset.done_indices]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for index in dataset.done_indices:
        heights_nm = dataset.heights_nm(index)
        for view, height_nm in enumerate(heights_nm):
            with Image.open(tmp_path / dataset.protein_ids[index] / f"view_{view:02d}.png") as picture:
                grey, text = np.asarray(picture), picture.text
            white_nm = float(text["height_nm_at_white"])
            assert white_nm == pytest.approx(heights_nm.max(), abs=1e-4)
            assert float(text["pixel_size_nm"]) == pytest.approx(dataset.pixel_size_nm[index], rel=1e-5)
            np.testing.assert_allclose(grey * (white_nm / 65535), height_nm, atol=1e-3)


def test_only_the_named_proteins_are_exported(store: Path, tmp_path: Path) -> None:
    arguments = ["--store", str(store), "--format", "png", "--out", str(tmp_path)]
    assert export.main([*arguments, "--protein", "body02"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["body02"]


def test_an_unknown_or_failed_protein_is_refused_in_a_sentence(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--store", str(store), "--format", "png", "--out", str(tmp_path)]
    assert export.main([*arguments, "--protein", "body06"]) == 2
    assert "body06: not among the 6 finished proteins" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_contact_sheet_has_a_row_per_protein_and_a_column_per_view(store: Path, tmp_path: Path) -> None:
    sizes = {}
    for rows, columns in ((2, 3), (4, 3), (2, 5)):
        sheet = tmp_path / f"sheet_{rows}_{columns}.png"
        arguments = ["--store", str(store), "--out", str(sheet)]
        assert preview.main([*arguments, f"--num-proteins={rows}", f"--num-views={columns}"]) == 0
        with Image.open(sheet) as picture:
            sizes[rows, columns] = picture.size
    width, height = sizes[2, 3]
    assert sizes[4, 3] == (width, 2 * height)
    assert sizes[2, 5][0] > width
    assert sizes[2, 5][1] == height


def test_a_missing_store_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preview.main(["--store", str(tmp_path / "no.zarr"), "--out", str(tmp_path / "sheet.png")]) == 2
    assert "expected a Zarr v3 store" in capsys.readouterr().err


def test_the_exported_surface_is_closed_and_stands_where_the_structure_stands(example_structures, tmp_path):
    store = tmp_path / "dataset.zarr"
    listed = tmp_path / "structures.txt"
    listed.write_text(f"{example_structures / '1v74.pdb.gz'}\n")
    arguments = [f"--structures={listed}", f"--store={store}", "--surface=ses", "--grid-size=96", "--image-size=32"]
    assert build.main([*arguments, "--num-views=1"]) == 0
    dataset = open_dataset(store)
    solid_nm3 = dataset.occupancy_fine(0).sum() * float(dataset.voxel_size_nm[0]) ** 3
    positions_nm = read_structure(example_structures / "1v74.pdb.gz").positions_nm
    for suffix in ("obj", "ply"):
        assert export.main(["--store", str(store), "--format", suffix, "--out", str(tmp_path)]) == 0
        mesh = trimesh.load(tmp_path / f"1v74.{suffix}")
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(solid_nm3, rel=0.02)
        assert (positions_nm > mesh.bounds[0]).all()
        assert (positions_nm < mesh.bounds[1]).all()


def test_a_surface_is_not_mirrored():
    solid = np.zeros((32, 32, 32), np.uint8)
    solid[4:28, 6:22, 8:20] = 1  # long along z, off the middle
    mesh = surface_of_occupancy(solid, GridPlacement(np.array([1.0, 2.0, 3.0]), 0.5, 32)).to_trimesh()
    assert mesh.volume == pytest.approx(24 * 16 * 12 * 0.125, rel=0.05)
    expected_xyz_nm = (np.array([13.5, 13.5, 15.5]) - 15.5) * 0.5 + (1, 2, 3)
    np.testing.assert_allclose(mesh.center_mass, expected_xyz_nm, atol=0.01)
    with pytest.raises(ValueError, match="no occupied voxel"):
        surface_of_occupancy(np.zeros((8, 8, 8), np.uint8), GridPlacement(np.zeros(3), 1.0, 8))


def test_views_of_density_are_thicknesses_and_look_absorbed(example_structures, tmp_path):
    store = tmp_path / "dataset.zarr"
    listed = tmp_path / "structures.txt"
    listed.write_text(f"{example_structures / '1v74.pdb.gz'}\n")
    arguments = [f"--structures={listed}", f"--store={store}", "--surface=ses"]
    sizes = ["--grid-size=96", "--image-size=48", "--num-views=3"]
    assert build.main([*arguments, *sizes, "--rendering=density"]) == 0
    dataset = open_dataset(store)
    solid_nm3 = dataset.occupancy_fine(0).sum() * float(dataset.voxel_size_nm[0]) ** 3
    sums_nm3 = dataset.views_nm(0).sum(axis=(1, 2)) * float(dataset.pixel_size_nm[0]) ** 2
    np.testing.assert_allclose(sums_nm3, solid_nm3, rtol=0.02)
    np.testing.assert_allclose(dataset.images(0), 1 - np.exp(-0.2 * dataset.views_nm(0)), atol=1e-6)
    with pytest.raises(StoreError, match="--rendering height"):
        dataset.heights_nm(0)
    assert export.main(["--store", str(store), "--format", "png", "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "1v74" / "view_00.png") as picture:
        np.testing.assert_allclose(np.asarray(picture) / 65535, dataset.images(0)[0], atol=1e-4)
        assert picture.text["absorption_per_nm"] == "0.2"
    sheet = tmp_path / "sheet.png"
    assert preview.main(["--store", str(store), "--out", str(sheet)]) == 0
    assert sheet.exists()
