import os
import pickle
import signal
from pathlib import Path

import pytest

from hpc.stop_signal import EXIT_TO_BE_CONTINUED
from recon.cluster_jobs import EvaluateJob, ReportJob, TrainJob
from recon.train_config import TrainConfig

TRAINING = TrainJob(TrainConfig(store="data.zarr", views=8), Path("runs/views_08"), "cpu")
JOBS = (TRAINING, EvaluateJob(Path("runs/views_08"), (3, 8), "cpu"), ReportJob(Path("runs"), Path("report.html")))


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
