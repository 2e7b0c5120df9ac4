import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon.evaluate import evaluate, main
from recon.loading.samples import SampleMaker
from recon.loading.training_data import ProteinData
from recon.metrics import THRESHOLDS, iou_per_protein
from recon.run_folder import RunFolder
from recon.scores import at_training_threshold
from recon.train import train
from recon.views import evaluation_order


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_exactly_these_columns_and_a_row_per_view_count_and_split(tiny_runs):
    path = tiny_runs / "views_02" / "iou_by_views.csv"
    first, second = (
        "views,split,num_proteins,iou_mean,iou_std,threshold",
        "iou_low,iou_high,mean_shape_iou,best_ball_iou",
    )
    assert path.read_text().splitlines()[0] == f"{first},{second}"
    found = [(row["views"], row["split"], row["num_proteins"]) for row in rows_of(path)]
    sides = (("train", "4"), ("validation", "1"), ("test", "1"))
    expected = [(views, *side) for views in ("1", "2", "5") for side in sides]
    assert found == expected


def test_the_table_is_the_mean_and_spread_of_the_single_proteins(tiny_runs):
    run = RunFolder(tiny_runs / "views_02")
    for row in rows_of(run.iou_by_views_path):
        key = (row["views"], row["split"])
        single = [float(one["iou"]) for one in rows_of(run.iou_per_protein_path) if (one["views"], one["split"]) == key]
        assert float(row["iou_mean"]) == pytest.approx(np.mean(single))
        assert float(row["iou_std"]) == pytest.approx(np.std(single))


def test_both_splits_are_scored_at_the_threshold_of_the_training_proteins():
    train, validation = np.zeros((2, len(THRESHOLDS), 3))
    train[4], validation[9] = 0.8, 0.9
    chosen = at_training_threshold({"train": train, "validation": validation})
    (train_iou, train_threshold), (validation_iou, threshold) = chosen["train"], chosen["validation"]
    assert train_threshold == threshold == THRESHOLDS[4]
    assert train_iou.tolist() == [0.8] * 3
    assert validation_iou.tolist() == [0] * 3


def test_a_saved_prediction_scores_what_the_table_says(tiny_runs):
    run = RunFolder(tiny_runs / "views_02")
    (threshold,) = {float(row["threshold"]) for row in rows_of(run.iou_by_views_path) if row["views"] == "2"}
    scores = {row["protein_id"]: float(row["iou"]) for row in rows_of(run.iou_per_protein_path) if row["views"] == "2"}
    files = sorted(run.predictions_path.glob("*.npz"))
    assert {path.name.split("_")[0] for path in files} == {"train", "validation"}
    for path in files:
        with np.load(path) as saved:
            iou = iou_per_protein(saved["probability"][None], saved["occupancy"][None], threshold)[0]
            assert iou == pytest.approx(scores[str(saved["protein_id"])], abs=0.01)
            np.testing.assert_array_equal(saved["views"], evaluation_order(0, str(saved["protein_id"]), 5)[:2])
            assert saved["voxel_size_nm"] == pytest.approx(0.25)


def test_the_baseline_is_the_mean_training_shape_at_its_own_training_threshold(tiny_runs):
    run = RunFolder(tiny_runs / "views_02")
    rows = rows_of(run.baselines_path)
    names = ("mean_training_shape", "best_ball")
    assert [(row["baseline"], row["split"]) for row in rows] == [
        (name, split) for name in names for split in ("train", "validation", "test")
    ]
    assert len({row["threshold"] for row in rows[:3]}) == 1
    for score in rows_of(run.iou_by_views_path):
        (mean_shape, ball) = (row["iou_mean"] for row in rows if row["split"] == score["split"])
        assert (score["mean_shape_iou"], score["best_ball_iou"]) == (mean_shape, ball)


@pytest.mark.parametrize("frame", ["view", "inertia"])
def test_a_run_is_scored_in_its_own_frame(tmp_path, tiny_config, frame):
    run = RunFolder(tmp_path / "run")
    train(replace(tiny_config, epochs=1, frame=frame), run.path, "cpu")
    evaluate(run.path, [1, 2], device_name="cpu")
    data, split, orders = ProteinData(Path(tiny_config.store), 32), run.read_record().split, run.read_view_orders()
    maker = SampleMaker(data, frame)

    def target(protein_id):
        return maker.target(data.indices_of([protein_id])[0], orders[protein_id][0])

    baselines = rows_of(run.baselines_path)
    mean_shape = np.mean([target(protein_id) for protein_id in split.train], axis=0)
    for row in baselines[:3]:
        targets = np.stack([target(protein_id) for protein_id in getattr(split, row["split"])])
        iou = iou_per_protein(np.broadcast_to(mean_shape, targets.shape), targets, float(row["threshold"]))
        assert float(row["iou_mean"]) == pytest.approx(iou.mean(), abs=1e-6)
    scores = {row["protein_id"]: float(row["iou"]) for row in rows_of(run.iou_per_protein_path) if row["views"] == "2"}
    (threshold,) = {float(row["threshold"]) for row in rows_of(run.iou_by_views_path) if row["views"] == "2"}
    files = sorted(run.predictions_path.glob("*.npz"))
    assert len(files) == 5
    for path in files:
        with np.load(path) as saved:
            protein_id = str(saved["protein_id"])
            np.testing.assert_array_equal(saved["occupancy"], target(protein_id))
            assert not np.array_equal(saved["occupancy"], data.occupancy[data.indices_of([protein_id])[0]])
            iou = iou_per_protein(saved["probability"][None], saved["occupancy"][None], threshold)[0]
            assert iou == pytest.approx(scores[protein_id], abs=0.01)


def test_scores_come_from_the_views_that_the_run_keeps(tiny_runs, tmp_path):
    shutil.copytree(tiny_runs / "views_02", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    before = run.iou_per_protein_path.read_bytes()
    kept = run.read_view_orders()
    run.evaluation_views_path.unlink()
    run.keep_view_orders({name: order[::-1] for name, order in kept.items()})
    evaluate(tmp_path / "run", [1, 2, 5], device_name="cpu")
    assert run.iou_per_protein_path.read_bytes() != before


def test_the_groups_by_size_are_the_whole_split_again(tiny_runs):
    run = RunFolder(tiny_runs / "views_02")
    rows = rows_of(run.iou_by_size_path)
    assert {row["size_nm"] for row in rows} == {"8-12"}  # 64 voxels of 0.125 nm
    whole = [
        (row["views"], row["split"], row["iou_mean"], row["best_ball_iou"]) for row in rows_of(run.iou_by_views_path)
    ]
    assert [(row["views"], row["split"], row["iou_mean"], row["best_ball_iou"]) for row in rows] == whole


def test_one_file_has_settings_versions_commit_and_table(tiny_runs, tiny_config):
    run = RunFolder(tiny_runs / "views_02")
    results = json.loads(run.results_path.read_text())
    assert results["config"]["batch_size"] == tiny_config.batch_size
    assert results["versions"]["torch"]
    assert results["commit"] == run.read_record().commit
    assert [f"{row['iou_mean']}" for row in results["scores"]] == [
        row["iou_mean"] for row in rows_of(run.iou_by_views_path)
    ]


def test_scoring_twice_gives_the_same_table(tiny_runs):
    path = tiny_runs / "views_02" / "iou_by_views.csv"
    before = path.read_bytes()
    evaluate(tiny_runs / "views_02", [5, 1, 2, 2], device_name="cpu")
    assert path.read_bytes() == before


@pytest.mark.parametrize(("views", "message"), [("7", "got 7 views, expected 1 to 5"), ("0", "got 0 views")])
def test_a_view_count_that_the_dataset_lacks_is_refused(tiny_runs, capsys, views, message):
    assert main(["--run", str(tiny_runs / "views_02"), "--views", views, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["--run", str(tmp_path)]) == 2
    assert "train one first" in capsys.readouterr().err
