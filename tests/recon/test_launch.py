from pathlib import Path
from types import SimpleNamespace

import pytest

import recon.launch
from hpc.jobs import JobError
from recon.launch import build_parser, job_policy, main, plan_jobs, run_jobs

ARGUMENTS = ["--store", "data.zarr", "--views", "8", "3", "8", "--runs", "runs", "--epochs", "7"]


def test_there_is_one_job_per_number_of_views_in_a_folder_that_sorts_by_it():
    jobs = plan_jobs(build_parser().parse_args(ARGUMENTS))
    assert [job.config.views for job in jobs] == [3, 8]
    assert [job.run_path for job in jobs] == [Path("runs/views_03").resolve(), Path("runs/views_08").resolve()]
    assert all(job.config.epochs == 7 and job.evaluated_views == (1, 3, 5, 8, 10) for job in jobs)


def test_slurm_is_asked_only_for_what_was_given():
    policy = job_policy(build_parser().parse_args([*ARGUMENTS, "--gpus", "0"]), "slurm")
    assert set(policy) == {"timeout_min", "cpus_per_task", "mem_gb"}
    policy = job_policy(build_parser().parse_args([*ARGUMENTS, "--partition", "gpu"]), "slurm")
    assert policy["slurm_partition"] == "gpu"
    assert policy["gpus_per_node"] == 1


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--cluster", "local", "--dry-run"]) == 0
    assert "views_03: train and score" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def scheduler(monkeypatch):
    """Record what happens to the jobs, of which the first fails."""
    events: list[tuple[str, str]] = []

    def submit(name, job):
        events.append(("submit", job.run_path.name))
        return SimpleNamespace(name=job.run_path.name, job_id=name, paths=SimpleNamespace(stderr="log"))

    def wait(job, _):
        events.append(("wait", job.name))
        if job.name == "views_03":
            raise JobError("job 1 failed")

    monkeypatch.setattr(recon.launch, "make_executor", lambda *_, name, **__: name)
    monkeypatch.setattr(recon.launch, "submit", submit)
    monkeypatch.setattr(recon.launch, "wait_for_job", wait)
    return events


@pytest.mark.parametrize(
    ("cluster", "order"), [("local", "submit wait submit wait"), ("slurm", "submit submit wait wait")]
)
def test_jobs_run_side_by_side_on_slurm_and_one_after_another_here(scheduler, tmp_path, cluster, order):
    jobs = plan_jobs(build_parser().parse_args(ARGUMENTS))
    assert run_jobs(jobs, cluster, tmp_path, {}) == 1
    assert " ".join(event for event, _ in scheduler) == order


def test_a_failed_job_ends_with_status_1_after_the_others_have_run(scheduler, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--cluster", "local"]) == 1
    assert ("wait", "views_08") in scheduler
    assert "1 of 2 jobs failed" in capsys.readouterr().err


@pytest.mark.slow
def test_two_real_local_jobs_end_in_a_report(tmp_path, tiny_store):
    arguments = ["--store", str(tiny_store), "--views", "1", "2", "--runs", str(tmp_path), "--cluster", "local"]
    settings = ["--size", "F", "--input-size", "32", "--epochs", "1", "--repeats", "1", "--batch-size", "3"]
    assert main([*arguments, *settings, "--evaluate-views", "1", "2", "--device", "cpu"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "views_01" in page
    assert "views_02" in page
