"""What a dataset shows: pictures that say their scale."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afmsim import export, preview
from afmsim.dataset import open_dataset
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
