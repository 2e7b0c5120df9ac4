"""How the jobs of a launch stand: what the scheduler says of them, and what their runs have written down."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc.atomic_file import write_text_atomically
from hpc.jobs import submitted_job
from recon.run_folder import RunError, RunFolder, read_rows

if TYPE_CHECKING:
    from rich.table import Table

JOBS_FOLDER = "jobs"
_LIST_NAME = "jobs.json"


@dataclass(frozen=True)
class SubmittedJob:
    """One job of a launch."""

    role: str
    """train, evaluate, shapes or report."""
    run: str
    """Name of the run's folder; empty for jobs that belong to none."""
    cluster: str
    job_id: str
    num_tasks: int


@dataclass(frozen=True)
class RunStatus:
    """One row of the table; what is not known yet is empty."""

    job: SubmittedJob
    state: str
    epoch: str = ""
    loss: str = ""
    train_iou: str = ""
    validation_iou: str = ""
    left: str = ""


def keep_jobs(runs: Path, jobs: Sequence[SubmittedJob]) -> None:
    """Remember the jobs of a launch, for `recon.launch --status`."""
    write_text_atomically(runs / JOBS_FOLDER / _LIST_NAME, json.dumps([asdict(job) for job in jobs], indent=2) + "\n")


def kept_jobs(runs: Path) -> list[SubmittedJob]:
    """
    Return the jobs of the last launch into `runs`.

    Raises
    ------
    RunError
        There was none.
    """
    path = runs / JOBS_FOLDER / _LIST_NAME
    try:
        return [SubmittedJob(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise RunError(f"expected the jobs of a launch in {path}, found none; launch some into {runs} first") from None


def scheduler_job(runs: Path, job: SubmittedJob) -> Any:
    """Return submitit's job."""
    return submitted_job(job.cluster, runs.resolve() / JOBS_FOLDER, job.job_id, job.num_tasks)


def run_statuses(runs: Path, jobs: Sequence[SubmittedJob], scheduled: Sequence[Any]) -> list[RunStatus]:
    """Return one row per job; `scheduled` are submitit's jobs."""
    return [_status(runs, job, one.state) for job, one in zip(jobs, scheduled, strict=True)]


def _status(runs: Path, job: SubmittedJob, state: str) -> RunStatus:
    run = RunFolder(runs / job.run)
    if job.role == "train":
        return _training_status(run, job, state)
    if job.role == "evaluate":
        return _evaluation_status(run, job, state)
    return RunStatus(job, state)


def _training_status(run: RunFolder, job: SubmittedJob, state: str) -> RunStatus:
    epoch = left = ""
    if run.progress_path.exists():
        progress = json.loads(run.progress_path.read_text(encoding="utf-8"))
        epoch, num_left = str(progress["epoch"]), progress["num_steps"] - progress["step"]
        if progress["step"] and num_left:
            left = _duration(progress["elapsed_s"] / progress["step"] * num_left)
    history = read_rows(run.metrics_path)
    if not history:
        return RunStatus(job, state, epoch, left=left)
    loss, train_iou, validation_iou = (
        float(history[-1][name]) for name in ("train_loss", "train_iou", "validation_iou")
    )
    return RunStatus(job, state, epoch, f"{loss:.4f}", f"{train_iou:.3f}", f"{validation_iou:.3f}", left)


def _evaluation_status(run: RunFolder, job: SubmittedJob, state: str) -> RunStatus:
    """Show the scores with as many views as in training, where the run is scored with them."""
    trained_views = run.read_record().config.views if run.config_path.exists() else 0
    rows = [row for row in read_rows(run.iou_by_views_path) if row["views"] == str(trained_views)]
    iou = {row["split"]: f"{float(row['iou_mean']):.3f}" for row in rows}
    return RunStatus(job, state, train_iou=iou.get("train", ""), validation_iou=iou.get("validation", ""))


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def status_table(statuses: Sequence[RunStatus]) -> "Table":
    """Return a table for the terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("job", "run", "id", "state", "epoch", "loss", "IoU", "unseen", "time left", box=SIMPLE, padding=0)
    for row in statuses:
        job = row.job
        cells = (row.state, row.epoch, row.loss, row.train_iou, row.validation_iou, row.left)
        table.add_row(job.role, job.run, job.job_id, *cells)
    return table
