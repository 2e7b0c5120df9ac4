import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

import recon.launch
from hpc.jobs import JobError
from recon.jobs.launch_shapes import plan_shapes
from recon.jobs.run_status import SubmittedJob, keep_jobs, run_statuses
from recon.launch import build_parser, main, plan_jobs
from tests.helpers.bare_environment import make_bare_environment
from tests.helpers.shape_store import write_shape_store

ARGUMENTS = ["--store", "data.zarr", "--views", "8", "3", "8", "--runs", "runs", "--epochs", "7"]


def test_there_is_one_training_per_number_of_views_in_a_folder_that_sorts_by_it():
    plan = plan_jobs(build_parser().parse_args(ARGUMENTS))
    assert [job.config.views for job in plan.trainings] == [3, 8]
    paths = [Path("runs/views_03").resolve(), Path("runs/views_08").resolve()]
    assert [job.run_path for job in plan.trainings] == [job.run_path for job in plan.evaluations] == paths
    assert all(job.config.epochs == 7 for job in plan.trainings)
    assert all(job.config.store == str(Path("data.zarr").resolve()) for job in plan.trainings)
    assert all(job.views == (1, 3, 5, 8, 10) for job in plan.evaluations)
    assert plan.report.out == Path("runs/report.html").resolve()


def test_a_dry_run_prints_the_scripts_and_does_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--nodes", "2", "--gpus-per-node", "4", "--partition", "gpu", "--timeout-min", "90", "--image", "s.sif"]
    assert main([*ARGUMENTS, "--cluster", "slurm", "--dry-run", "--max-parallel", "1", *options]) == 0
    training, scoring, report = capsys.readouterr().out.split("### ")[1:]
    expected = ["array=0-1%1", "nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "partition=gpu", "time=90", "requeue"]
    assert [line for line in expected if f"#SBATCH --{line}\n" not in training] == []
    assert "--kill-on-bad-exit=1 apptainer exec --nv s.sif python -u -m submitit.core._submit" in training
    assert "scontrol requeue" in training
    assert "#SBATCH --signal=USR2@120\n" in training
    assert "#SBATCH --account" not in training
    assert "#SBATCH --dependency=afterok:TRAINING\n" in scoring
    assert "--array" not in scoring
    assert "#SBATCH --dependency=afterany:SCORINGS\n" in report
    assert "gpus-per-node" not in report
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    return make_bare_environment(tmp_path_factory.mktemp("login_node") / "venv")


@pytest.mark.parametrize(
    "options",
    [
        ["--help"],
        [*ARGUMENTS, "--cluster", "slurm", "--dry-run"],
        [*ARGUMENTS, "--method", "register", "--cluster", "slurm", "--dry-run", "--max-parallel", "2"],
    ],
    ids=["help", "dry run", "dry run of a table"],
)
def test_a_login_node_needs_neither_torch_nor_cupy_nor_pymol(options, bare_python, tmp_path):
    environment = {"PATH": "/nowhere"}
    for name in ("torch", "cupy", "pymol", "pymol2", "mpi4py", "zarr", "scipy", "matplotlib", "h5py"):
        found = subprocess.run([bare_python, "-c", f"import {name}"], env=environment, capture_output=True, check=False)
        assert b"No module named" in found.stderr, name
    done = subprocess.run(
        [bare_python, "-m", "recon.launch", *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--views" in done.stdout or "#SBATCH --array=0-1" in done.stdout or "scoring of register" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster", "local"], "expected a dataset at .*data.zarr, found none; name it with --store"),
        (["--cluster", "local", "--epochs", "0"], "expected epochs of at least 1"),
        (["--policy", "absent.toml"], "expected the site's settings in absent.toml"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("recon.launch: ")
    assert re.search(message, error)


def test_the_status_of_a_folder_without_a_launch_is_one_sentence(tmp_path, capsys):
    assert main(["--status", str(tmp_path)]) == 2
    assert "expected the jobs of a launch in" in capsys.readouterr().err


def test_the_status_shows_how_far_a_run_is(tiny_runs):
    jobs = [SubmittedJob(role, "views_02", "slurm", "7", 1) for role in ("train", "evaluate")]
    keep_jobs(tiny_runs, jobs)
    training, evaluation = run_statuses(tiny_runs, jobs, [SimpleNamespace(state="RUNNING")] * 2)
    assert (training.state, training.epoch, training.left) == ("RUNNING", "2", "")
    assert float(training.loss) > 0
    assert 0 <= float(evaluation.validation_iou) <= 1


@pytest.fixture
def scheduler(monkeypatch):
    """Record what happens to the jobs, of which the first training fails."""
    events: list[tuple[str, str]] = []

    def submit(_, job):
        name = f"{type(job).__name__} {job.run_path.name}"
        events.append(("submit", name))
        return SimpleNamespace(name=name)

    def wait(job, _):
        events.append(("wait", job.name))
        if job.name == "TrainJob views_03":
            raise JobError("job 1 failed")

    monkeypatch.setattr(recon.launch, "check_store", lambda _: None)
    monkeypatch.setattr(recon.launch, "make_executor", lambda *_, **__: None)
    monkeypatch.setattr(recon.launch, "submit", submit)
    monkeypatch.setattr(recon.launch, "wait_for_job", wait)
    return events


def test_here_jobs_run_one_after_another_and_a_failed_one_stops_only_its_run(scheduler, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--cluster", "local"]) == 1
    assert [f"{event} {name}" for event, name in scheduler] == [
        "submit TrainJob views_03",
        "wait TrainJob views_03",
        "submit TrainJob views_08",
        "wait TrainJob views_08",
        "submit EvaluateJob views_08",
        "wait EvaluateJob views_08",
    ]
    assert "1 of 2 runs failed" in capsys.readouterr().err


@pytest.mark.slow
def test_two_real_local_jobs_end_in_a_report(tmp_path, tiny_store):
    arguments = ["--store", str(tiny_store), "--views", "1", "2", "--runs", str(tmp_path), "--cluster", "local"]
    settings = ["--size", "F", "--input-size", "32", "--epochs", "1", "--repeats", "1", "--batch-size", "3"]
    assert main([*arguments, *settings, "--evaluate-views", "1", "2", "--device", "cpu"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "views_01" in page
    assert "views_02" in page


TABLE = ["--store", "data.zarr", "--views", "3", "8", "--method", "register+refine", "register"]


def test_a_dry_run_of_a_table_prints_one_job_with_a_rank_on_each_core(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--nodes", "2", "--gpus-per-node", "4", "--cpus-per-task", "8", "--image", "s.sif"]
    assert main([*TABLE, "--cluster", "slurm", "--dry-run", *options]) == 0
    scoring, report = capsys.readouterr().out.split("### ")[1:]
    assert scoring.startswith("scoring of register, register+refine\n")
    expected = ["nodes=2", "ntasks-per-node=32", "cpus-per-task=1", "requeue"]
    assert [line for line in expected if f"#SBATCH --{line}\n" not in scoring] == []
    assert "gpus-per-node" not in scoring
    assert "--array" not in scoring
    assert "scontrol requeue" in scoring
    assert "#SBATCH --dependency=afterany:SCORING\n" in report
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_the_given_runs_beside_the_methods():
    arguments = build_parser().parse_args(
        [*TABLE, "--paper-run", "a", "b", "--split", "test", "--test-fraction", "0.2"]
    )
    plan = plan_shapes(arguments)
    task = plan.evaluation.task
    assert task.ordered_methods == ["paper", "register", "register+refine"]
    assert task.paper_runs == (Path("a").resolve(), Path("b").resolve())
    assert (task.split, task.test_fraction, task.view_counts) == ("test", 0.2, (3, 8))
    assert plan.evaluation.out == Path("runs/shapes.csv").resolve()


def test_networks_in_the_frame_of_the_view_are_trained_beside_those_of_the_paper():
    arguments = build_parser().parse_args([*ARGUMENTS, "--method", "view"])
    plan = plan_jobs(arguments)
    assert [job.run_path.name for job in plan.trainings] == ["view_frame_03", "view_frame_08"]
    assert all(job.config.frame == "view" for job in plan.trainings)


@pytest.mark.slow
def test_a_real_local_job_scores_methods_and_ends_in_a_report(tmp_path):
    store = write_shape_store(tmp_path / "shapes.zarr", ("1kjy", "1hvr"), 2)
    arguments = ["--store", str(store), "--views", "1", "2", "--runs", str(tmp_path / "runs"), "--cluster", "local"]
    assert main([*arguments, "--method", "register", "known", "--device", "cpu"]) == 0
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "registered and carved" in page
    assert "carved with true orientations" in page
    table = (tmp_path / "runs" / "shapes.csv").read_text()
    assert table.count("\n") == 1 + 2 * 2
