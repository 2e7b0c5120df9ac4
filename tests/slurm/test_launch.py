"""`recon.launch` on two real nodes: trainings over both, scores, report; and the same after interruptions."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import SlurmCluster
from tests.helpers.tiny_store import write_tiny_store

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

EPOCHS = 6
# One rank on each of two nodes; seven samples of three proteins in batches of three, so that the last one is uneven.
POLICY = ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--memory-gb=2", "--timeout-min=60")
SETTINGS = ("--size=F", "--input-size=32", f"--epochs={EPOCHS}", "--repeats=2", "--batch-size=4", "--device=cpu")
TIMEOUT_S = 600.0


def launch(cluster: SlurmCluster, store: Path, runs: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recon.launch", "--views", "3", "8", f"--store={store}", f"--runs={runs}"]
    command += [*POLICY, *SETTINGS, "--evaluate-views", "3", "8", *options]
    env = cluster.env | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)


def submitted(runs: Path) -> dict[tuple[str, str], str]:
    jobs = json.loads((runs / "jobs" / "jobs.json").read_text())
    return {(job["role"], job["run"]): job["job_id"] for job in jobs}


def tables(runs: Path) -> dict[str, str]:
    names = ("iou_by_views.csv", "iou_per_protein.csv", "iou_by_size.csv")
    return {f"{run}/{name}": (runs / run / name).read_text() for run in ("views_03", "views_08") for name in names}


def histories(runs: Path) -> list[list[str]]:
    """Losses and IoU of all epochs, without the times."""
    rows = []
    for run in ("views_03", "views_08"):
        with (runs / run / "metrics.csv").open(newline="") as file:
            rows += [list(row.values())[:-1] for row in csv.DictReader(file)]
    return rows


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"waited in vain: {what}"
        time.sleep(0.1)


def process_of_rank(job_id: str, rank: int) -> int:
    """Return the process of one rank of a job of the test cluster, by its environment."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = entry.read_bytes().split(b"\0")
            command = (entry.parent / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = {f"SLURM_JOB_ID={job_id}".encode(), f"SLURM_PROCID={rank}".encode(), b"SLURM_STEP_ID=0"}
        if wanted <= set(variables) and b"submitit.core._submit" in command:
            return int(entry.parent.name)
    raise AssertionError(f"no process of rank {rank} of job {job_id}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_store(tmp_path_factory.mktemp("launch") / "tiny.zarr", num_proteins=5, num_views=8)


@pytest.fixture(scope="module")
def undisturbed(slurm_cluster: SlurmCluster, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    done = launch(slurm_cluster, store, runs, "--wait")
    assert done.returncode == 0, done.stderr
    return runs


def test_two_nodes_train_score_and_report(slurm_cluster: SlurmCluster, undisturbed: Path) -> None:
    assert len(histories(undisturbed)) == 2 * EPOCHS
    for name, table in tables(undisturbed).items():
        assert "validation" in table, name
    assert "views_08" in (undisturbed / "report.html").read_text()
    logs = [path.read_text() for path in undisturbed.glob("jobs/*_0_0_log.err")]
    assert any("on cpu, 2 ranks" in log for log in logs)
    jobs = submitted(undisturbed)
    training = jobs["train", "views_03"]
    assert {slurm_cluster.job_field(job, "JobState") for job in (training, *jobs.values())} == {"COMPLETED"}
    assert slurm_cluster.job_field(training, "NodeList") == "n[1-2]"


def test_the_jobs_of_a_launch_can_be_asked_for_later(slurm_cluster: SlurmCluster, undisturbed: Path) -> None:
    shown = slurm_cluster.run(sys.executable, "-m", "recon.launch", "--status", str(undisturbed))
    assert shown.count("COMPLETED") == 5
    assert "views_03" in shown


def test_interrupted_jobs_end_with_the_very_same_tables(
    slurm_cluster: SlurmCluster, store: Path, undisturbed: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    done = launch(slurm_cluster, store, runs)
    assert done.returncode == 0, done.stderr
    jobs = submitted(runs)
    first, second = jobs["train", "views_03"], jobs["train", "views_08"]

    def restarts(job: str) -> int:
        return int(slurm_cluster.job_field(job, "Restarts"))

    # A rank of one training is killed outright; the other training is queued again by its administrator,
    wait_until((runs / "views_08" / "snapshot.pt").exists, "a snapshot of 8 views")
    os.kill(process_of_rank(slurm_cluster.job_field(second, "JobId"), rank=1), signal.SIGKILL)
    wait_until((runs / "views_03" / "snapshot.pt").exists, "a snapshot of 3 views")
    slurm_cluster.run("scontrol", "requeue", first)
    wait_until(lambda: restarts(first) == 1 and slurm_cluster.squeue(first) == "RUNNING", "the first restart")
    # and then meets a time limit: Slurm's signal comes at once, as the limit is nearer than the warning.
    slurm_cluster.run("scontrol", "update", f"JobId={first}", "TimeLimit=1")
    wait_until(lambda: restarts(first) == 2, "the restart after the time limit")
    slurm_cluster.run("scontrol", "update", f"JobId={first}", "TimeLimit=60")

    assert slurm_cluster.wait(jobs["report", ""], timeout_s=TIMEOUT_S) == "COMPLETED"
    assert restarts(second) == 1
    assert histories(runs) == histories(undisturbed)
    assert tables(runs) == tables(undisturbed)


def test_a_cancelled_training_is_not_queued_again_and_nothing_waits_for_it(
    slurm_cluster: SlurmCluster, store: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    assert launch(slurm_cluster, store, runs, "--epochs=500").returncode == 0
    jobs = submitted(runs)
    first, second = jobs["train", "views_03"], jobs["train", "views_08"]
    wait_until(lambda: slurm_cluster.squeue(first) == "RUNNING", "the training")
    slurm_cluster.run("scancel", first, second)
    for job in (first, second, jobs["evaluate", "views_03"], jobs["evaluate", "views_08"]):
        assert slurm_cluster.wait(job, timeout_s=120.0) == "CANCELLED", job
    assert slurm_cluster.job_field(first, "Restarts") == "0"
