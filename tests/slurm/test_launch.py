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
WARNING = signal.SIGUSR2
"""What Slurm sends before a time limit."""


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


def processes_of_ranks(job_id: str) -> dict[int, int]:
    """Return the processes of the ranks of a job of the test cluster, by their environments."""
    processes = {}
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = dict(part.partition(b"=")[::2] for part in entry.read_bytes().split(b"\0"))
            command = (entry.parent / "cmdline").read_bytes()
        except OSError:
            continue
        is_step = (variables.get(b"SLURM_JOB_ID"), variables.get(b"SLURM_STEP_ID")) == (job_id.encode(), b"0")
        if is_step and b"submitit.core._submit" in command:
            processes[int(variables[b"SLURM_PROCID"])] = int(entry.parent.name)
    return processes


def status_of(process: int) -> dict[str, str]:
    """Return what the kernel says of a process; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def listens(process: int) -> bool:
    """Whether a process handles Slurm's warning."""
    return bool(int(status_of(process).get("SigCgt", "0"), 16) >> (WARNING - 1) & 1)


def stop_ranks(job_id: str) -> list[int]:
    """Wait until both ranks of a job are ready for Slurm's warning, and stop their processes; return these."""

    def ready() -> list[int]:
        return [process for process in processes_of_ranks(job_id).values() if listens(process)]

    wait_until(lambda: len(ready()) == 2, "two ranks that listen")
    processes = ready()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    return processes


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
    # A result is there a moment before its job has ended.
    assert {slurm_cluster.wait(job) for job in (training, *jobs.values())} == {"COMPLETED"}
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

    # One training is queued again by its administrator; a rank of the other one is killed outright,
    wait_until((runs / "views_03" / "snapshot.pt").exists, "a snapshot of 3 views")
    slurm_cluster.run("scontrol", "requeue", first)
    wait_until((runs / "views_08" / "snapshot.pt").exists, "a snapshot of 8 views")
    os.kill(processes_of_ranks(slurm_cluster.job_field(second, "JobId"))[1], signal.SIGKILL)
    wait_until(lambda: restarts(first) == 1 and slurm_cluster.squeue(first) == "RUNNING", "the first restart")
    # and then the first one meets a time limit, so near that Slurm warns at its next look, within half a minute.
    # Until then its ranks stand still, lest they end before; Slurm lets a process go on that it signals.
    processes = stop_ranks(slurm_cluster.job_field(first, "JobId"))
    slurm_cluster.run("scontrol", "update", f"JobId={first}", "TimeLimit=2")
    wait_until(lambda: all(not status_of(one).get("State", "").startswith("T") for one in processes), "a warning")
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
