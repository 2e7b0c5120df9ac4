"""The network that restores images under a tip, and all commands that use it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from afmsim.tip import Tip, scan
from recon.carve import CarvedVolume
from recon.evaluate import main as evaluate_main
from recon.poses.scan_cleaning import LEAST_PROBABILITY, ScanConditions, scanned_views
from recon.poses.scan_restorer import (
    OPEN_ABOVE_NM,
    ScanRestorer,
    default_restorer_path,
    load_restorer,
    restored_heights,
)
from recon.poses.tip_erosion import upper_bound
from recon.poses.view_stack import prepare_views
from recon.shapes.carve_refiner import (
    CarveRefiner,
    evidence_channels,
    load_refiner,
    num_channels,
    refined_probability,
)
from recon.shapes.file_digest import file_digest
from recon.train_carve_refiner import main as train_refiner_main
from recon.train_scan_restorer import main as train_restorer_main
from recon.weights_file import save_weights
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
    conditions = ScanConditions(0.3, Tip(1.0), load_restorer(default_restorer_path()))
    views = scanned_views(ball_nm, 0.05, conditions, seed=0)
    true_nm2 = np.pi * 2.0**2
    assert (views.upper_nm > 0.2).sum() * views.pixel_size_nm**2 > 1.5 * true_nm2
    assert (views.heights_nm > 0).sum() * views.pixel_size_nm**2 == pytest.approx(true_nm2, rel=0.2)
    assert views.pixel_size_nm == 0.1


def test_weights_come_back_and_others_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = ScanRestorer().eval()
    save_weights(model, tmp_path / "restorer.pt")
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
        scanned_views(np.ones((1, 16, 16), np.float32), 0.1, ScanConditions(0.0, Tip(1.0)), 0)


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
    arguments = [*scoring, *TIP_OPTIONS, *store, "--restorer", restorer, "--out", table]
    assert evaluate_main([*arguments, "--refiner", refiner]) == 0
    with Path(table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["known", "register", "register+refine"]
    assert all(0 < float(row["iou_mean"]) < 1 for row in rows)
    with Path(tmp_path / "table_poses" / "settings.json").open() as file:
        settings = json.load(file)
    assert (settings["tip_radius_nm"], settings["restorer"]) == (1.0, file_digest(Path(restorer)))
    clean = ["--method", "register", "--views", "2", "--max-proteins", "1", *store, "--noise-sigma-nm", "0.3"]
    assert evaluate_main([*clean, "--out", table]) == 2
    assert "tip_radius_nm was 1.0 and is now null" in capsys.readouterr().err
    refused = ["--method", "register+refine", *clean[2:], "--out", str(tmp_path / "clean.csv"), "--refiner", refiner]
    assert evaluate_main(refused) == 2
    assert "trained with the same tip" in capsys.readouterr().err
    assert not (tmp_path / "clean_poses").exists()
    defaults = [
        *clean[2:],
        *TIP_OPTIONS,
        "--restorer",
        restorer,
        "--views",
        "1",
        "--out",
        str(tmp_path / "default.csv"),
    ]
    assert evaluate_main(defaults) == 0
    with (tmp_path / "default.csv").open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["register+refine"]


def test_a_refiner_for_clean_views_reads_the_same_evidence_as_ever_and_no_bound(tmp_path: Path) -> None:
    carved = CarvedVolume(*np.random.default_rng(0).random((5, 8, 8, 8), dtype=np.float32))
    torch.manual_seed(0)
    save_weights(CarveRefiner(), tmp_path / "clean.pt")
    save_weights(CarveRefiner(num_channels(has_tip=True)), tmp_path / "tip.pt")
    clean, under_tip = load_refiner(tmp_path / "clean.pt"), load_refiner(tmp_path / "tip.pt")
    assert (clean.num_channels, under_tip.num_channels) == (6, 9)
    np.testing.assert_array_equal(evidence_channels(carved, 3, carved)[:6], evidence_channels(carved, 3))
    assert refined_probability(under_tip, carved, 3, carved).shape == (8, 8, 8)
    for model, bound in ((clean, carved), (under_tip, None)):
        with pytest.raises(ValueError, match="trained with the same tip"):
            refined_probability(model, carved, 3, bound)


def test_a_point_breaks_only_the_bound_where_there_is_one() -> None:
    heights_nm = sphere_heights(2.0, 48, 0.2)[None]
    bound_nm = np.maximum(heights_nm, 1.0)
    guessed, bounded = prepare_views(heights_nm, 0.2), prepare_views(heights_nm, 0.2, upper_nm=bound_nm)
    assert guessed.ceilings[0, 0, 0] == 0
    assert bounded.ceilings[0, 0, 0] == pytest.approx(1.0 / bounded.cell_nm)
    np.testing.assert_array_equal(guessed.points, bounded.points)
    np.testing.assert_array_equal(guessed.distance, bounded.distance)
