"""The network that restores images under a tip, and all commands that use it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from afmsim.tip import Tip, scan
from recon.evaluate import main as evaluate_main
from recon.scan_cleaning import LEAST_PROBABILITY, ScanConditions, scanned_views
from recon.scan_options import TIP_RESTORER, scan_conditions
from recon.scan_restorer import OPEN_ABOVE_NM, ScanRestorer, load_restorer, restored_heights, save_restorer
from recon.tip_erosion import upper_bound
from recon.train_carve_refiner import main as train_refiner_main
from recon.train_scan_restorer import main as train_restorer_main
from recon.view_stack import prepare_views
from tests.helpers.height_views import sphere_heights
from tests.helpers.shape_store import write_shape_store

TIP_OPTIONS = ["--tip-radius-nm", "1", "--noise-sigma-nm", "0.3"]


@pytest.fixture(scope="module")
def shape_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape_store(tmp_path_factory.mktemp("shapes") / "shapes.zarr", ("1aar", "1lmb", "1na0", "5cro"), 3)


@pytest.mark.parametrize("image_size", [64, 60])
def test_restored_heights_stay_between_substrate_and_bound(image_size: int) -> None:
    torch.manual_seed(0)
    model = ScanRestorer().eval()
    tip = Tip(1.0)
    image_nm = scan(sphere_heights(2.0, image_size, 0.15)[None], tip, 0.15)
    upper_nm = upper_bound(image_nm, tip, 0.15)
    heights_nm = restored_heights(model, image_nm, upper_nm, 0.15, LEAST_PROBABILITY)
    assert heights_nm.shape == image_nm.shape
    assert (heights_nm >= 0).all()
    assert (heights_nm <= upper_nm + 1e-6).all()
    assert (heights_nm[upper_nm <= OPEN_ABOVE_NM] == 0).all()


def test_a_view_without_any_body_keeps_its_bound() -> None:
    upper_nm = np.full((1, 16, 16), 2.0, np.float32)
    heights_nm = restored_heights(ScanRestorer().eval(), upper_nm, upper_nm, 0.1, least_probability=1.1)
    assert (heights_nm > 0).any()


def test_the_weights_of_the_package_find_a_balls_outline_under_tip_and_noise() -> None:
    ball_nm = sphere_heights(2.0, 160, 0.05)[None]
    conditions = ScanConditions(0.3, Tip(1.0), load_restorer(TIP_RESTORER))
    views = scanned_views(ball_nm, 0.05, conditions, seed=0)
    true_nm2 = np.pi * 2.0**2
    assert (views.upper_nm > 0.2).sum() * views.pixel_size_nm**2 > 1.5 * true_nm2
    assert (views.heights_nm > 0).sum() * views.pixel_size_nm**2 == pytest.approx(true_nm2, rel=0.2)
    assert views.pixel_size_nm == 0.1


def test_weights_come_back_and_others_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = ScanRestorer().eval()
    save_restorer(model, tmp_path / "restorer.pt")
    again = load_restorer(tmp_path / "restorer.pt")
    maps, sizes = torch.rand(1, 16, 16), torch.tensor([0.1])
    assert torch.equal(again(maps, maps, sizes)[0], model(maps, maps, sizes)[0])
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no restorer of this version"):
        load_restorer(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no restorer at"):
        load_restorer(tmp_path / "no.pt")


def test_a_tip_without_a_restorer_is_refused() -> None:
    with pytest.raises(ValueError, match="need a restorer"):
        scanned_views(np.ones((1, 16, 16), np.float32), 0.1, scan_conditions(0.0, 1.0, 10.0, None), 0)


def test_training_and_evaluation_under_a_tip_end_to_end(
    shape_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(shape_store)]
    restorer, refiner, table = (str(tmp_path / name) for name in ("restorer.pt", "refiner.pt", "table.csv"))
    short = ["--epochs", "1", "--batch-size", "2", *TIP_OPTIONS, *store]
    assert train_restorer_main(["--out", restorer, "--views-per-protein", "2", *short]) == 0
    refining = ["--out", refiner, "--samples-per-protein", "1", "--restorer", restorer]
    assert train_refiner_main([*refining, *short]) == 0
    scoring = ["--method", "known", "register", "register+refine", "--views", "2", "--max-proteins", "1"]
    arguments = [*scoring, *TIP_OPTIONS, *store, "--out", table]
    assert evaluate_main([*arguments, "--refiner", refiner]) == 0
    with Path(table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["known", "register", "register+refine"]
    assert all(0 < float(row["iou_mean"]) < 1 for row in rows)
    clean = ["--method", "register+refine", "--views", "2", "--max-proteins", "1", *store, "--out", table]
    assert evaluate_main([*clean, "--refiner", refiner]) == 2
    assert "trained with the same tip" in capsys.readouterr().err


def test_a_point_breaks_only_the_bound_where_there_is_one() -> None:
    heights_nm = sphere_heights(2.0, 48, 0.2)[None]
    bound_nm = np.maximum(heights_nm, 1.0)
    guessed, bounded = prepare_views(heights_nm, 0.2), prepare_views(heights_nm, 0.2, 0.0, bound_nm)
    assert guessed.ceilings[0, 0, 0] == 0
    assert bounded.ceilings[0, 0, 0] == pytest.approx(1.0 / bounded.cell_nm)
    np.testing.assert_array_equal(guessed.points, bounded.points)
    np.testing.assert_array_equal(guessed.distance, bounded.distance)
