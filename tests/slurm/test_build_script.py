"""slurm/build.sh on two real nodes: it completes, continues after an interruption, and tells how it ended."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slurm

SCRIPT = Path(__file__).parent.parent.parent / "slurm" / "build.sh"
NUM_STRUCTURES = 6
SMALL = ("--num-views=2", "--grid-size=32", "--target-size=16", "--image-size=32", "--shard-size=1")
# Stands for Python and for Apptainer: says how it was called, and ends with the status that the test asks for.
STUB = """#!/bin/bash
echo "called: $(basename "$0") $*"
exit "${STUB_STATUS:-0}"
"""


@pytest.fixture
def stub_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "stub" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "apptainer"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    return folder


def submit(cluster: SlurmCluster, folder: Path, *options: str, **settings: str) -> tuple[int, Path]:
    """Submit the script from `folder`; `options` before `--` are sbatch's, those after are the program's."""
    split = options.index("--") if "--" in options else len(options)
    log = folder / f"job_{time.time_ns()}.log"
    defaults = {"STRUCTURES": "structures", "STORE": "dataset.zarr", "VENV": sys.prefix}
    job_id = cluster.sbatch(
        *(f"--chdir={folder}", f"--output={log}", *options[:split], str(SCRIPT), *options[split + 1 :]),
        **(defaults | settings),
    )
    return job_id, log


def called(log: Path) -> str:
    return next(line for line in log.read_text().splitlines() if line.startswith("called: "))


def statuses(store: Path) -> list[str]:
    with (store / "proteins.csv").open(newline="") as lines:
        return [row["status"] for row in csv.DictReader(lines)]


def chunk_bytes(store: Path) -> dict[str, bytes]:
    """Return what the ranks wrote, by file name; the record of the run is left out."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.glob("*/c/**/*") if path.is_file()}


def wait_for_first_protein(store: Path, timeout_s: float = 240.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not any(path.stat().st_size for path in store.glob("journal/*/*.jsonl")):
        assert time.monotonic() < deadline_s, "no protein was built"
        time.sleep(0.05)


@pytest.mark.mpi
@pytest.mark.slow
def test_an_interrupted_build_continues_to_the_same_bytes(
    slurm_cluster: SlurmCluster, example_structures: Path, tmp_path: Path
) -> None:
    (tmp_path / "structures").mkdir()
    smallest = min(example_structures.glob("*.gz"), key=lambda path: (path.stat().st_size, path.name))
    for number in range(NUM_STRUCTURES):
        shutil.copy(smallest, tmp_path / "structures" / f"copy{number}.pdb.gz")
    ranks = ("--ntasks-per-node=1", "--signal=USR1@10", "--", *SMALL)

    job_id, log = submit(slurm_cluster, tmp_path, *ranks, STORE="interrupted.zarr")
    wait_for_first_protein(tmp_path / "interrupted.zarr")
    slurm_cluster.run("scancel", "--signal=USR1", str(job_id))
    whole_id, whole_log = submit(slurm_cluster, tmp_path, *ranks, STORE="whole.zarr")

    assert slurm_cluster.wait(job_id, timeout_s=240.0) == "COMPLETED", log.read_text()
    assert slurm_cluster.wait(whole_id, timeout_s=240.0) == "COMPLETED", whole_log.read_text()
    assert slurm_cluster.job_field(job_id, "Restarts") == "1", log.read_text()
    assert slurm_cluster.job_field(whole_id, "Restarts") == "0"
    assert statuses(tmp_path / "interrupted.zarr") == ["done"] * NUM_STRUCTURES
    assert chunk_bytes(tmp_path / "interrupted.zarr") == chunk_bytes(tmp_path / "whole.zarr")
    assert chunk_bytes(tmp_path / "whole.zarr")


@pytest.mark.mpi
def test_ranks_that_do_not_find_each_other_are_refused(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "structures").mkdir()
    job_id, log = submit(slurm_cluster, tmp_path, AFM_MPI="none")
    assert slurm_cluster.wait(job_id) == "FAILED", log.read_text()
    assert slurm_cluster.job_field(job_id, "ExitCode") == "2:0", log.read_text()
    assert not (tmp_path / "dataset.zarr").exists()


@pytest.mark.parametrize(
    ("status", "state", "sentence"),
    [
        (0, "COMPLETED", "finished: every protein is in dataset.zarr"),
        (1, "FAILED", "finished with failures: the reasons are in dataset.zarr/proteins.csv"),
        (2, "FAILED", "failed with status 2"),
    ],
)
def test_the_job_ends_as_the_build_does(
    slurm_cluster: SlurmCluster, tmp_path: Path, stub_folder: Path, status: int, state: str, sentence: str
) -> None:
    stub = {"VENV": str(stub_folder.parent), "STUB_STATUS": str(status)}
    job_id, log = submit(slurm_cluster, tmp_path, **stub)
    assert slurm_cluster.wait(job_id) == state
    assert slurm_cluster.job_field(job_id, "ExitCode") == f"{status}:0"
    assert sentence in log.read_text()


def test_settings_and_options_reach_the_program(slurm_cluster: SlurmCluster, tmp_path: Path, stub_folder: Path) -> None:
    job_id, log = submit(
        slurm_cluster, tmp_path, "--", "--num-views", "50", VENV=str(stub_folder.parent), STRUCTURES="my list.txt"
    )
    assert slurm_cluster.wait(job_id) == "COMPLETED"
    program = "python -m mpi4py -m afmsim.build"
    assert called(log) == f"called: {program} --structures my list.txt --store dataset.zarr --num-views 50"


@pytest.mark.parametrize(
    ("options", "binds", "expected"),
    [((), "", "exec suite.sif python"), (("--gres=gpu:1",), "/a,/b:/c", "exec --nv --bind /a,/b:/c suite.sif python")],
)
def test_an_image_gets_gpu_and_folders_only_when_asked_for(
    slurm_cluster: SlurmCluster,
    tmp_path: Path,
    stub_folder: Path,
    options: tuple[str, ...],
    binds: str,
    expected: str,
) -> None:
    path = f"{stub_folder}:{os.environ['PATH']}"
    job_id, log = submit(slurm_cluster, tmp_path, *options, PATH=path, IMAGE="suite.sif", BINDS=binds)
    assert slurm_cluster.wait(job_id) == "COMPLETED"
    assert called(log).startswith(f"called: apptainer {expected} -m mpi4py -m afmsim.build ")
