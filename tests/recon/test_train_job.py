import pickle
from pathlib import Path

from recon.train_config import TrainConfig
from recon.train_job import TrainJob

JOB = TrainJob(TrainConfig(store="data.zarr", views=8), Path("runs/views_08"), "cpu", (3, 8))


def test_a_job_travels_as_it_is():
    assert pickle.loads(pickle.dumps(JOB)) == JOB


def test_an_interrupted_job_is_followed_by_itself():
    assert JOB.checkpoint().function == JOB


def test_a_job_trains_then_scores_its_run(monkeypatch):
    calls = []
    monkeypatch.setattr("recon.train.train", lambda *arguments: calls.append(("train", *arguments)))
    monkeypatch.setattr(
        "recon.evaluate.evaluate", lambda *arguments, device_name: calls.append(("evaluate", *arguments, device_name))
    )
    JOB()
    assert calls == [("train", JOB.config, JOB.run_path, "cpu"), ("evaluate", JOB.run_path, (3, 8), "cpu")]
