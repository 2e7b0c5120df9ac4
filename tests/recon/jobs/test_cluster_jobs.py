import os
import pickle
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpc.stop_signal import EXIT_TO_BE_CONTINUED
from recon.jobs.cluster_jobs import EvaluateJob, ReportJob, ShapesJob, TrainJob
from recon.shapes.shape_task import ShapeTask
from recon.train_config import TrainConfig

TRAINING = TrainJob(TrainConfig(store="data.zarr", views=8), Path("runs/views_08"), "cpu")
SCORING = ShapesJob(ShapeTask(Path("data.zarr"), ("register",), (3, 8)), Path("runs/shapes.csv"))
JOBS = (
    TRAINING,
    EvaluateJob(Path("runs/views_08"), (3, 8), "cpu"),
    SCORING,
    ReportJob(Path("runs"), Path("report.html")),
)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_travels_as_it_is_and_is_followed_by_itself(job):
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.checkpoint().function == job


def test_a_training_that_is_interrupted_ends_with_its_status(monkeypatch):
    def train(config, run_path, device, stop):
        assert (config, run_path, device) == (TRAINING.config, TRAINING.run_path, "cpu")
        os.kill(os.getpid(), signal.SIGUSR2)
        return EXIT_TO_BE_CONTINUED if stop.wants_requeue else 0

    monkeypatch.setattr("recon.train.train", train)
    with pytest.raises(SystemExit) as end:
        TRAINING()
    assert end.value.code == EXIT_TO_BE_CONTINUED


def test_a_training_that_ends_well_just_returns(monkeypatch):
    monkeypatch.setattr("recon.train.train", lambda *_: 0)
    assert TRAINING() is None


@pytest.mark.parametrize("failures", [[], ["a protein"]])
def test_a_scoring_with_failed_proteins_ends_with_status_one(monkeypatch, failures):
    def evaluate_shapes(task, out):
        assert (task, out) == (SCORING.task, SCORING.out)
        return SimpleNamespace(failures=failures)

    monkeypatch.setattr("recon.shapes.evaluate_shapes.evaluate_shapes", evaluate_shapes)
    if not failures:
        assert SCORING() is None
        return
    with pytest.raises(SystemExit) as end:
        SCORING()
    assert end.value.code == 1


def test_the_report_shows_what_lies_in_the_folder(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr("recon.report.write_report", lambda runs, _, shapes=None: written.append((runs, shapes)))
    job, table = ReportJob(tmp_path, tmp_path / "report.html"), tmp_path / "shapes.csv"
    job()
    table.touch()
    job()
    (tmp_path / "views_08").mkdir()
    (tmp_path / "views_08" / "iou_by_views.csv").touch()
    job()
    assert written == [(tmp_path, None), (None, table), (tmp_path, table)]
