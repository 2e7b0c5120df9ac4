"""One table of all methods: same proteins and views, any number of ranks, broken proteins, killed runs."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from afmsim.dataset import open_dataset
from recon.distributed import Ranks
from recon.evaluate import evaluate, main
from recon.loading.training_data import ProteinData
from recon.poses.scan_cleaning import ScanConditions
from recon.shapes.chosen_methods import refinement
from recon.shapes.evaluate_shapes import evaluate_shapes
from recon.shapes.mean_shape_method import body_in_random_view, mean_shape_method
from recon.shapes.network_method import network_images
from recon.shapes.scored_runs import nearest_run
from recon.shapes.shape_metrics import overlap
from recon.shapes.shape_scoring import seen_for_task
from recon.shapes.shape_task import ShapeTask
from recon.train import train
from recon.train_config import TrainConfig
from recon.views import evaluation_order
from tests.helpers.shape_store import write_shape_store
from tests.helpers.torch_ranks import run_ranks

NAMES = ("1kjy", "1lmb", "2trc", "1hvr", "1acb", "1aar")
NUM_VIEWS = 3
UNTIMED = ("elapsed_s", "elapsed_s_median")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape_store(tmp_path_factory.mktemp("shapes") / "shapes.zarr", NAMES, NUM_VIEWS)


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run, trained on the proteins that are no test."""
    config = TrainConfig(
        store=str(store), views=2, size="F", input_size=32, epochs=1, repeats=1, batch_size=2, test_fraction=0.5
    )
    path = tmp_path_factory.mktemp("runs") / "views_02"
    train(config, path, "cpu")
    evaluate(path, [1, 2], device_name="cpu")
    return path


@pytest.fixture
def broken_store(store: Path, tmp_path: Path) -> Path:
    """The dataset with bytes of its first height map overwritten."""
    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    (shard,) = (path for path in (broken / "height" / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[:64] = b"\xff" * 64
    shard.write_bytes(content)
    return broken


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name not in UNTIMED} for row in csv.DictReader(file)]


def table_files(out: Path) -> list[list[dict[str, str]]]:
    return [read(out.with_name(f"{out.stem}{name}.csv")) for name in ("", "_per_protein", "_calibration", "_failures")]


def arguments_of(store: Path, out: Path, *options: str) -> list[str]:
    return ["--store", str(store), "--out", str(out), "--test-fraction", "0.5", "--device", "cpu", *options]


def test_a_trained_run_scores_what_its_own_evaluation_says(store: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    methods = ["--method", "known", "paper", "mean-shape", "--paper-run", str(run)]
    assert main(arguments_of(store, out, *methods, "--split", "test", "--views", "2", "1")) == 0
    rows = read(out)
    order = [(row["views"], row["method"], row["frame"]) for row in rows]
    frames = (("mean-shape", "view"), ("paper", "pdb"), ("known", "view"))
    assert order == [(views, *frame) for views in ("1", "2") for frame in frames]
    own = {
        (row["views"], row["protein_id"]): float(row["iou"])
        for row in read(run / "iou_per_protein.csv")
        if row["split"] == "test"
    }
    found = {
        (row["views"], row["protein_id"]): float(row["iou"])
        for row in read(tmp_path / "table_per_protein.csv")
        if row["method"] == "paper"
    }
    assert len(found) == 2 * int(rows[0]["num_proteins"]) > 2
    assert found == pytest.approx(own, abs=2e-3)
    thresholds = {(row["views"], row["split"]): row["threshold"] for row in read(run / "iou_by_views.csv")}
    by_method = {(row["views"], row["method"]): row for row in rows}
    assert by_method["2", "paper"]["threshold"] == thresholds["2", "train"]
    assert by_method["2", "paper"]["pose_within_5_deg"] == "nan"
    assert by_method["2", "known"]["pose_within_5_deg"] == "1.0"
    assert by_method["1", "mean-shape"]["iou_mean"] == by_method["2", "mean-shape"]["iou_mean"]
    assert float(by_method["2", "known"]["iou_mean"]) > float(by_method["2", "mean-shape"]["iou_mean"])
    assert float(by_method["2", "known"]["mirrored_iou_mean"]) < float(by_method["2", "known"]["aligned_iou_mean"])


def test_a_run_of_single_views_sees_the_first_view_only_and_answers_in_its_frame(store: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        store=str(store), views=1, frame="view", size="F", input_size=32, epochs=1, repeats=1, test_fraction=0.5
    )
    train(config, tmp_path / "run", "cpu")
    evaluate(tmp_path / "run", [1], device_name="cpu")
    out = tmp_path / "table.csv"
    options = ("--method", "view", "--view-run", str(tmp_path / "run"), "--split", "test", "--views", "1", "3")
    assert main(arguments_of(store, out, *options)) == 0
    one, three = read(out)
    assert one["frame"] == three["frame"] == "turned"
    assert one["iou_mean"] == three["iou_mean"]
    own = {
        row["protein_id"]: float(row["iou"])
        for row in read(tmp_path / "run" / "iou_per_protein.csv")
        if row["split"] == "test"
    }
    found = {
        row["protein_id"]: float(row["iou"]) for row in read(tmp_path / "table_per_protein.csv") if row["views"] == "1"
    }
    # Targets are sampled more finely here than while training.
    assert found == pytest.approx(own, abs=0.02)


def test_a_run_that_was_never_scored_gets_the_same_threshold(store: Path, run: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "views_02"
    shutil.copytree(run, fresh)
    (fresh / "iou_by_views.csv").unlink()
    options = ("--method", "paper", "--split", "test", "--views", "2", "--paper-run")
    assert main(arguments_of(store, tmp_path / "a.csv", *options, str(run))) == 0
    assert main(arguments_of(store, tmp_path / "b.csv", *options, str(fresh))) == 0
    assert table_files(tmp_path / "a.csv") == table_files(tmp_path / "b.csv")


def test_the_network_sees_what_it_was_trained_on(store: Path) -> None:
    dataset, task = open_dataset(store), ShapeTask(store, ["known"], [NUM_VIEWS])
    seen = seen_for_task(dataset, task, ScanConditions(), 1)
    order = evaluation_order(0, NAMES[1], NUM_VIEWS)
    np.testing.assert_allclose(network_images(seen, 2, 32), ProteinData(store, 32).images(1, order[:2]), rtol=1e-3)


def test_the_run_trained_with_the_nearest_number_of_views_answers(run: Path) -> None:
    from dataclasses import replace

    from recon.run_folder import RunFolder

    record = RunFolder(run).read_record()
    records = {Path(str(views)): replace(record, config=replace(record.config, views=views)) for views in (10, 3, 5)}
    nearest = [nearest_run(records, views).name for views in (1, 3, 4, 8, 25)]
    assert nearest == ["3", "3", "3", "10", "10"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "paper", "--paper-run", "RUN"], r"was trained on 2 of the 6 .*--split test --test-fraction 0.5"),
        (["--method", "view", "--view-run", "RUN", "--split", "test"], "trained with --frame pdb, expected one with"),
        (["--method", "paper"], "needs --paper-run"),
        (["--method", "mean-shape"], "unrelated to those scored"),
        (
            ["--method", "paper", "--paper-run", "RUN", "--split", "test", "--target-size", "64"],
            "on 32 voxels per axis",
        ),
        (["--method", "known", "--max-proteins", "0"], "at least 1 protein"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    store: Path, run: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    options = [str(run) if word == "RUN" else word for word in options]
    assert main(arguments_of(store, tmp_path / "table.csv", "--views", "1", *options)) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_run_in_the_frame_of_the_view_is_scored_by_the_stored_body_turned_about_its_middle(store: Path) -> None:
    from scipy.ndimage import affine_transform

    from afmsim.voxelize import downsample_majority

    dataset, task = open_dataset(store), ShapeTask(store, ["known"], [1])
    seen = seen_for_task(dataset, task, ScanConditions(), 2)
    fine = dataset.occupancy_fine(2).astype(np.float32)
    rotation = dataset.view_rotations(2)[evaluation_order(0, NAMES[2], NUM_VIEWS)[0]]
    inverse_zyx = rotation.T[::-1, ::-1]
    middle = np.full(3, (len(fine) - 1) / 2)
    turned = affine_transform(fine, inverse_zyx, middle - inverse_zyx @ middle, order=1) >= 0.5
    expected = downsample_majority(turned.astype(np.uint8), 32)
    assert overlap(seen.truth_in("turned").occupancy, expected) > 0.95
    assert seen.truth_in("turned").voxel_size_nm == pytest.approx(seen.truth_in("pdb").voxel_size_nm)
    np.testing.assert_array_equal(seen.truth_in("pdb").occupancy, dataset.occupancy(2))


def test_the_mean_shape_is_the_mean_of_bodies_in_the_frame_of_a_view(store: Path) -> None:
    dataset, task = open_dataset(store), ShapeTask(store, ["known"], [1])
    bodies = [body_in_random_view(dataset, protein, 32, 0) for protein in range(3)]
    for protein, body in enumerate(bodies):  # turned once more on a coarse grid
        assert overlap(body, seen_for_task(dataset, task, ScanConditions(), protein).truth) > 0.75
    method = mean_shape_method(dataset, [0, 1, 2], 32, 0, Ranks())
    np.testing.assert_allclose(method.probability, np.mean(bodies, axis=0), atol=1e-6)


def test_a_broken_protein_has_a_reason_and_stops_nothing(broken_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    assert main(arguments_of(broken_store, out, "--method", "known", "--views", str(NUM_VIEWS))) == 1
    (failure,) = read(tmp_path / "table_failures.csv")
    assert failure["protein_id"] == NAMES[0]
    assert failure["reason"]
    (row,) = read(out)
    assert row["num_proteins"] == str(len(NAMES) - 1)


@pytest.mark.slow
def test_one_and_two_ranks_make_the_same_table(broken_store: Path, run: Path, tmp_path: Path) -> None:
    tables = []
    for num_ranks in (1, 2):
        out = tmp_path / f"ranks{num_ranks}" / "table.csv"
        options = ("--method", "known", "paper", "mean-shape", "--paper-run", str(run), "--split", "test")
        ends = run_ranks(num_ranks, "-m", "recon.evaluate", *arguments_of(broken_store, out, *options, "--views", "3"))
        assert {status for status, _ in ends} <= {0, 1}, ends
        tables.append(table_files(out))
    alone, shared = tables
    for own, other in zip(alone, shared, strict=True):
        assert [row for row in own if row.get("method") != "paper"] == [
            row for row in other if row.get("method") != "paper"
        ]
    # Of the same network on the same images, the last bits differ from process to process.
    (own_iou,), (other_iou,) = ([row["iou_mean"] for row in table[0] if row["method"] == "paper"] for table in tables)
    assert float(own_iou) == pytest.approx(float(other_iou), abs=2e-3)
    assert len(alone[0]) == 3


def test_a_killed_evaluation_goes_on_after_its_last_protein(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    options = arguments_of(store, out, "--method", "known", "--views", "1")
    program = (
        "import os, signal, sys\n"
        "from recon import evaluate\nfrom recon.shapes import shape_scoring\n"
        "old = shape_scoring.score_answer\n"
        "def score(seen, *rest):\n"
        f"    if seen.protein_id == {NAMES[2]!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return old(seen, *rest)\n"
        "shape_scoring.score_answer = score\n"
        "evaluate.main(sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    counting = program.replace(
        f"if seen.protein_id == {NAMES[2]!r}: os.kill(os.getpid(), signal.SIGKILL)", "print(seen.protein_id)"
    )
    resumed = subprocess.run([sys.executable, "-c", counting, *options], capture_output=True, check=False, text=True)
    assert resumed.stdout.split() == list(NAMES[2:])
    undisturbed = tmp_path / "undisturbed.csv"
    assert main(arguments_of(store, undisturbed, "--method", "known", "--views", "1")) == 0
    assert table_files(out) == table_files(undisturbed)


def test_scores_of_other_settings_are_not_taken_over(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments_of(store, tmp_path / "t.csv", "--method", "known", "--views", "1", "--max-proteins", "1")
    assert main(options) == 0
    settings = json.loads((tmp_path / "t_poses" / "settings.json").read_text())
    assert list(settings) == ["dataset", "target_size", "noise_sigma_nm", "seed"]
    assert main([*options, "--tip-radius-nm", "1"]) == 2
    assert "tip_radius_nm was null and is now 1.0" in capsys.readouterr().err
    assert main([*options, "--noise-sigma-nm", "0.1"]) == 2
    assert "noise_sigma_nm was 0.0 and is now 0.1; choose another --out" in capsys.readouterr().err


def test_bodies_of_64_voxels_are_carved_finer_and_not_refined(store: Path, tmp_path: Path) -> None:
    task = ShapeTask(store, ["known", "register"], [1, NUM_VIEWS], target_size=64, max_proteins=1)
    rows = {(row.method, row.views): row for row in evaluate_shapes(task, tmp_path / "table.csv").rows}
    with np.load(tmp_path / "table_best.npz") as best:
        assert best["probability"].shape == best["occupancy"].shape == (64, 64, 64)
    assert rows["known", 1].iou_mean == rows["register", 1].iou_mean
    assert rows["register", 3].iou_mean > rows["register", 1].iou_mean
    with pytest.raises(ValueError, match="answers on 32 voxels per axis, got a target size of 64; leave the method"):
        refinement(None, 64, has_tip=False)


def test_where_every_protein_fails_the_reasons_are_there_and_no_table(
    broken_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    options = ["--method", "known", "--views", str(NUM_VIEWS), "--max-proteins", "1"]
    assert main(arguments_of(broken_store, out, *options)) == 2
    assert f"no protein could be scored; the first, {NAMES[0]}: " in capsys.readouterr().err
    assert [row["protein_id"] for row in read(tmp_path / "table_failures.csv")] == [NAMES[0]]
    assert not out.exists()
