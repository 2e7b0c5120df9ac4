"""The test cluster behaves as a site's does: jobs, ranks over nodes, GPUs, requeue, accounting."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slurm

SUM_OF_RANKS = (
    "from mpi4py import MPI; import os; world = MPI.COMM_WORLD; "
    "print(os.environ['SLURMD_NODENAME'], world.rank, world.size, world.allreduce(world.rank))"
)
REQUEUE_ONCE = """#!/bin/bash
echo "start ${SLURM_RESTART_COUNT:-0}"
if [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60
fi
"""


def test_a_job_runs_with_the_gpu_it_asked_for(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    output = tmp_path / "job.log"
    job_id = slurm_cluster.sbatch("--gres=gpu:1", f"--output={output}", "--wrap", "echo gpu $CUDA_VISIBLE_DEVICES")
    assert slurm_cluster.wait(job_id) == "COMPLETED"
    assert output.read_text() == "gpu 0\n"


def test_a_job_that_fails_is_seen_with_its_exit_status(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    job_id = slurm_cluster.sbatch(f"--output={tmp_path / 'job.log'}", "--wrap", "exit 7")
    assert slurm_cluster.wait(job_id) == "FAILED"
    assert slurm_cluster.job_field(job_id, "ExitCode") == "7:0"


def test_mpi_ranks_over_two_nodes_are_one_communicator(slurm_cluster: SlurmCluster) -> None:
    printed = slurm_cluster.run(
        *("srun", "--nodes=2", "--ntasks-per-node=2", "--mpi=pmi2"), sys.executable, "-c", SUM_OF_RANKS
    )
    assert sorted(printed.splitlines()) == ["n1 0 4 6", "n1 1 4 6", "n2 2 4 6", "n2 3 4 6"]


def test_a_requeued_job_starts_again(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    script, output = tmp_path / "job.sh", tmp_path / "job.log"
    script.write_text(REQUEUE_ONCE)
    job_id = slurm_cluster.sbatch("--requeue", "--open-mode=append", f"--output={output}", str(script))
    assert slurm_cluster.wait(job_id) == "COMPLETED"
    assert slurm_cluster.job_field(job_id, "Restarts") == "1"
    starts = [line for line in output.read_text().splitlines() if line.startswith("start")]
    assert starts == ["start 0", "start 1"]


def test_accounting_tells_how_a_job_ended(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    job_id = slurm_cluster.sbatch(f"--output={tmp_path / 'job.log'}", "--wrap", "true")
    assert slurm_cluster.wait(job_id) == "COMPLETED"
    deadline_s = time.monotonic() + 20.0
    query = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={job_id}")
    while slurm_cluster.run(*query).strip() != "COMPLETED":  # written some seconds after the end
        assert time.monotonic() < deadline_s, slurm_cluster.controller_log()
        time.sleep(0.2)


def test_the_doctor_sees_the_cluster_and_joins_ranks_inside_a_job(slurm_cluster: SlurmCluster) -> None:
    printed = slurm_cluster.run("srun", sys.executable, "-m", "hpc.doctor", "--json", timeout_s=300.0)
    finding_by_part = {finding["part"]: finding for finding in json.loads(printed)}
    assert finding_by_part["mpi"]["state"] == "ok", finding_by_part["mpi"]
    assert "batch* 2 nodes up" in finding_by_part["slurm"]["detail"]
    assert "inside job" in finding_by_part["slurm"]["detail"]
