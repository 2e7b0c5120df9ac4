"""Jobs on a Slurm cluster or on this machine: the only door to submitit."""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_POLL_INTERVAL_S = 1.0
_PING_TIMEOUT_S = 5.0


class JobError(RuntimeError):
    """A job did not end well."""


def resolve_cluster(cluster: str) -> str:
    """Return "slurm" or "local"; "auto" is Slurm where a cluster answers and this machine otherwise."""
    if cluster not in ("auto", "slurm", "local"):
        raise ValueError(f"expected cluster auto, slurm or local, got {cluster!r}")
    if cluster == "auto":
        return "slurm" if shutil.which("sbatch") and _cluster_answers() else "local"
    if cluster == "slurm" and not shutil.which("sbatch"):
        raise ValueError("got cluster slurm, but there is no sbatch command here; use --cluster local, or a login node")
    return cluster


def _cluster_answers() -> bool:
    """Say whether a controller is up: Slurm's commands are also installed on machines that belong to no cluster."""
    try:
        ping = subprocess.run(
            ["scontrol", "ping"], capture_output=True, text=True, timeout=_PING_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return " UP" in ping.stdout


def make_executor(cluster: str, folder: Path, python: str | None = None, **policy: Any) -> Any:
    """
    Return a submitit executor.

    Parameters
    ----------
    cluster
        "auto", "slurm" or "local", see `resolve_cluster`.
    folder
        Where jobs and their logs are kept; on a cluster all nodes must see it.
    python
        Shell command that runs Python on Slurm's nodes, for instance in a container; None is this very Python.
    policy
        Parameters of `submitit.AutoExecutor.update_parameters`, such as `timeout_min` and `gpus_per_node`;
        those that begin with `slurm_` hold on Slurm alone.

    Raises
    ------
    ValueError
        There is no such cluster here, or no such parameter.
    """
    submitit = _submitit()
    executor = submitit.AutoExecutor(folder=str(folder), cluster=resolve_cluster(cluster), slurm_python=python)
    try:
        executor.update_parameters(**policy)
    except NameError as error:
        raise ValueError(str(error)) from error
    return executor


def sbatch_text(folder: Path, num_jobs: int, python: str | None = None, **policy: Any) -> str:
    """Return the script that `make_executor` would hand to sbatch, also where there is no Slurm."""
    _submitit()
    from submitit.slurm.slurm import SlurmExecutor

    class Offline(SlurmExecutor):  # type: ignore[misc]
        @classmethod
        def affinity(cls) -> int:
            return 1

    executor = Offline(folder=str(folder), python=python)
    shared = {name: value for name, value in policy.items() if not name.startswith("slurm_")}
    own = {name.removeprefix("slurm_"): value for name, value in policy.items() if name.startswith("slurm_")}
    executor.parameters.update(executor._convert_parameters(shared) | own)
    if num_jobs > 1:
        executor.parameters["map_count"] = num_jobs
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))


def submit(executor: Any, job: Callable[[], Any]) -> Any:
    """
    Hand `job` to an executor and return submitit's job.

    Raises
    ------
    JobError
        The scheduler did not take it; the message says why.
    """
    return submit_array(executor, [job])[0]


def submit_array(executor: Any, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Hand `jobs` to an executor, on Slurm as one array; otherwise like `submit`."""
    try:
        with executor.batch():
            return [executor.submit(job) for job in jobs]
    except _submitit().core.utils.FailedJobError as error:
        raise JobError(
            f"the job could not be submitted: {_last_line(error)}; mend what it says, or use --cluster local"
        ) from error


def delayed_submission(job: Callable[..., Any]) -> Any:
    """Return what a job's `checkpoint` has to return for the job to be queued again as `job`."""
    return _submitit().helpers.DelayedSubmission(job)


def submitted_job(cluster: str, folder: Path, job_id: str, num_tasks: int) -> Any:
    """Return submitit's job for one that was submitted before, maybe by another process."""
    submitit = _submitit()
    job_class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[cluster]
    return job_class(folder=str(folder), job_id=job_id, tasks=list(range(num_tasks)))


def wait_for_job(job: Any, on_log: Callable[[str], object]) -> Any:
    """
    Wait until a submitit job ends; hand each piece of its error log (where logging writes) to `on_log` as it comes.

    Returns
    -------
    Any
        What the job returned.

    Raises
    ------
    JobError
        It failed; the message says why and where its log is.
    """
    log_path = Path(job.paths.stderr)
    position = 0
    while True:
        # Asked before reading, so that the last lines of a job that ends meanwhile are not lost.
        is_done = job.done()
        if log_path.exists():
            with log_path.open(encoding="utf-8", errors="replace") as log:
                log.seek(position)
                if text := log.read():
                    on_log(text)
                position = log.tell()
        if is_done:
            return job_result(job)
        time.sleep(_POLL_INTERVAL_S)


def job_result(job: Any) -> Any:
    """Return what a job's first task returned, when all have ended; JobError says why one failed, and its log."""
    try:
        return job.results()[0]
    except Exception as error:
        raise JobError(f"job {job.job_id} failed: {_last_line(error)}; its log is {job.paths.stderr}") from error


def _last_line(error: Exception) -> str:
    """Return the line that says what was wrong: submitit's message is the whole trace or output of the job."""
    trace, _, _ = str(error).partition("You can check full logs")
    lines = [line.strip() for line in trace.splitlines() if line.strip(" -")]
    return lines[-1] if lines else type(error).__name__


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ValueError("submitit is not installed; install this project, of which it is a part") from error
    return submitit
