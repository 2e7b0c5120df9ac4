"""The command that scores methods which find orientations, on real complexes, and the network that refines them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from recon.evaluate import main
from recon.register import Registration
from recon.shapes import carve_refiner, carving_method
from recon.shapes.carving_method import views_to_carve
from recon.shapes.evaluate_shapes import evaluate_shapes
from recon.shapes.scored_proteins import chosen_proteins
from recon.shapes.shape_task import ShapeTask
from recon.train_carve_refiner import main as train_main
from recon.weights_file import save_weights
from tests.helpers.shape_store import write_shape_store

NAMES = ("1kjy", "1lmb", "2trc")


@pytest.fixture(scope="module")
def shape_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape_store(tmp_path_factory.mktemp("shapes") / "shapes.zarr", NAMES, 4)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_registration_reaches_what_known_poses_carve(shape_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    arguments = ["--method", "known", "register", "--store", str(shape_store), "--views", "1", "4", "--out", str(out)]
    assert main(arguments) == 0
    rows = {(row["views"], row["method"]): row for row in read(out)}
    assert set(rows) == {("1", "known"), ("1", "register"), ("4", "known"), ("4", "register")}
    columns = "views,split,num_proteins,iou_mean,iou_std,threshold,chamfer_nm_mean,pose_error_deg_median"
    assert out.read_text().startswith(columns)
    found, known = rows["4", "register"], rows["4", "known"]
    assert float(found["iou_mean"]) > max(0.6, float(known["iou_mean"]) - 0.02)
    assert float(found["pose_error_deg_median"]) < 2
    assert float(found["chamfer_nm_mean"]) < 0.4
    assert rows["1", "known"]["iou_mean"] == rows["1", "register"]["iou_mean"]
    assert len(read(tmp_path / "table_per_protein.csv")) == 4 * len(NAMES)
    with np.load(tmp_path / "table_best.npz") as best, np.load(tmp_path / "table_worst.npz") as worst:
        assert best["iou"] >= worst["iou"]
        assert best["occupancy"].shape == best["probability"].shape == (32, 32, 32)


def test_poses_that_were_found_are_used_again(
    shape_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ShapeTask(shape_store, ["register"], [2], max_proteins=1)
    (first,) = evaluate_shapes(task, tmp_path / "table.csv").rows
    monkeypatch.setattr(carving_method, "register", None)
    shutil.rmtree(tmp_path / "table_poses" / "scores")
    (again,) = evaluate_shapes(task, tmp_path / "table.csv").rows
    assert (again.iou_mean, again.pose_error_deg_median) == (first.iou_mean, first.pose_error_deg_median)


def test_families_of_excluded_proteins_are_left_out(shape_store: Path, tmp_path: Path) -> None:
    from afmsim.dataset import open_dataset

    exclude = tmp_path / "used.txt"
    exclude.write_text("1lmb\n")
    chosen = chosen_proteins(open_dataset(shape_store), ShapeTask(shape_store, ["known"], [1], exclude=exclude))
    assert [NAMES[index] for index in chosen] == ["1kjy", "2trc"]


def test_a_trained_refiner_predicts_and_is_scored(shape_store: Path, tmp_path: Path) -> None:
    weights = tmp_path / "refiner.pt"
    common = ["--store", str(shape_store)]
    training = ["--out", str(weights), "--epochs", "1", "--samples-per-protein", "1", "--batch-size", "2"]
    assert train_main([*common, *training]) == 0
    task = ShapeTask(shape_store, ["register+refine"], [1], refiner=weights, max_proteins=1)
    (row,) = evaluate_shapes(task, tmp_path / "table.csv").rows
    assert (row.method, row.num_proteins) == ("register+refine", 1)
    with np.load(tmp_path / "table_best.npz") as best:
        assert 0 < best["probability"].mean() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "register"], "need --store and --out"),
        (["--method", "network"], "needs --run"),
        (
            ["--method", "register+refine", "--store", "STORE", "--out", "t.csv", "--views", "2", "--refiner", "no.pt"],
            "no refiner at",
        ),
        (["--method", "register", "--store", "STORE", "--out", "t.csv", "--views", "9"], "expected 1 to 4"),
    ],
)
def test_bad_requests_get_a_sentence_and_leave_nothing(
    shape_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(shape_store) if word == "STORE" else word for word in arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_a_table(shape_store: Path, tmp_path: Path) -> None:
    from PIL import Image

    from recon.shape_figures import main as figures_main

    out = tmp_path / "table.csv"
    evaluate_shapes(ShapeTask(shape_store, ["known", "register"], [1, 3], max_proteins=2), out)
    assert figures_main(["--table", str(out), "--out", str(tmp_path / "pictures")]) == 0
    for name in ("iou_by_views", "chamfer_by_views", "pose_errors", "calibration", "bodies"):
        with Image.open(tmp_path / "pictures" / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(10**6) or []) > 20
    assert figures_main(["--table", str(tmp_path / "no.csv"), "--out", str(tmp_path)]) == 2


def test_registration_is_refined_by_default_where_the_package_has_the_weights(
    shape_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "carve_refiner.pt"
    monkeypatch.setattr(carve_refiner, "default_refiner_path", lambda _has_tip: weights)
    arguments = ["--store", str(shape_store), "--views", "1", "--max-proteins", "1", "--device", "cpu", "--out"]
    assert main([*arguments, str(tmp_path / "without.csv")]) == 0
    save_weights(carve_refiner.CarveRefiner(), weights)
    assert main([*arguments, str(tmp_path / "with.csv")]) == 0
    methods = [row["method"] for name in ("without", "with") for row in read(tmp_path / f"{name}.csv")]
    assert methods == ["register", "register+refine"]


def test_a_run_alone_is_scored_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert "expected a training run in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [((1.0, 0.9, 0.8), [0, 1, 2]), ((1.0, 0.0, 0.8), [0, 2]), ((0.0, 0.9, 0.8), [0])],
)
def test_views_that_do_not_fit_are_not_carved_with(confidence: tuple[float, ...], expected: list[int]) -> None:
    found = Registration(np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3)), np.array(confidence))
    assert list(views_to_carve(found)) == expected
