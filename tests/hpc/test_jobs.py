import os
from pathlib import Path

import pytest

import hpc.jobs
from hpc.jobs import JobError, delayed_submission, make_executor, resolve_cluster, submit, wait_for_job


class Answer:
    """A job; importable, as every job has to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> int:
        import logging

        logging.basicConfig(level=logging.INFO)
        logging.info("the answer is on its way")
        return 42

    def checkpoint(self) -> object:
        return delayed_submission(self)


class Failure(Answer):
    def __call__(self) -> int:
        raise ValueError("there is no answer")


def local(folder: Path) -> object:
    return make_executor("local", folder / "jobs", timeout_min=5, gpus_per_node=0)


def without_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpc.jobs.shutil, "which", lambda _: None)


def test_auto_is_this_machine_where_there_is_no_sbatch(monkeypatch):
    without_sbatch(monkeypatch)
    assert resolve_cluster("auto") == "local"


@pytest.mark.parametrize(
    ("ping", "cluster"),
    [
        ("echo 'Slurmctld(primary) at head is UP'", "slurm"),
        ("echo 'Slurmctld(primary) at head is DOWN'; exit 1", "local"),
        ("echo 'scontrol: error: resolve_ctls_from_dns_srv' >&2; exit 1", "local"),
    ],
)
def test_auto_is_slurm_where_a_cluster_answers(tmp_path, monkeypatch, ping, cluster):
    for name, script in (("sbatch", "true"), ("scontrol", ping)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resolve_cluster("auto") == cluster


def test_slurm_is_refused_where_there_is_none(monkeypatch):
    without_sbatch(monkeypatch)
    with pytest.raises(ValueError, match="no sbatch command here; use --cluster local"):
        resolve_cluster("slurm")


def test_an_unknown_cluster_and_an_unknown_parameter_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected cluster auto, slurm or local, got 'cloud'"):
        resolve_cluster("cloud")
    with pytest.raises(ValueError, match="colour"):
        make_executor("local", tmp_path, slurm_colour="red")


def test_a_local_job_returns_its_result_and_its_log(tmp_path):
    log: list[str] = []
    assert wait_for_job(submit(local(tmp_path), Answer(tmp_path)), log.append) == 42
    assert "the answer is on its way" in "".join(log)


def test_a_job_that_fails_says_why_and_where_its_log_is(tmp_path):
    job = submit(local(tmp_path), Failure(tmp_path))
    with pytest.raises(JobError, match="failed: ValueError: there is no answer; its log is .*_log.err"):
        wait_for_job(job, lambda _: None)


def test_a_job_that_is_interrupted_is_queued_again_as_it_was(tmp_path):
    job = Answer(tmp_path)
    assert job.checkpoint().function is job


def test_a_scheduler_that_takes_no_job_is_quoted(tmp_path, monkeypatch):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    sbatch.with_name("srun").symlink_to(sbatch)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    executor = make_executor("slurm", tmp_path / "jobs", timeout_min=5)
    with pytest.raises(JobError, match="could not be submitted: sbatch: error: invalid partition"):
        submit(executor, Answer(tmp_path))
