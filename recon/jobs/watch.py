"""The table of a launch's jobs on the terminal: once, or until all have ended."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hpc.jobs import JobError, job_result
from recon.jobs.run_status import SubmittedJob, kept_jobs, run_statuses, scheduler_job, status_table

logger = logging.getLogger(__name__)

_REFRESH_S = 2.0


def print_status(runs: Path) -> int:
    """Print how the jobs of the last launch into `runs` stand; return the exit status."""
    from rich.console import Console

    jobs = kept_jobs(runs)
    Console().print(status_table(run_statuses(runs, jobs, [scheduler_job(runs, job) for job in jobs])))
    return 0


def watch(runs: Path, jobs: Sequence[SubmittedJob]) -> int:
    """Show the jobs until all have ended; return 0 when all ended well and 1 otherwise."""
    from rich.console import Console
    from rich.live import Live

    scheduled = [scheduler_job(runs, job) for job in jobs]
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            # Asked before the table is drawn, so that the last one shows the end.
            is_over = all(job.done(force_check=True) for job in scheduled)
            live.update(status_table(run_statuses(runs, jobs, scheduled)), refresh=console.is_terminal or is_over)
            if is_over:
                break
            time.sleep(_REFRESH_S)
    num_failed = 0
    for job, one in zip(jobs, scheduled, strict=True):
        try:
            job_result(one)
        except JobError as error:
            logger.error("%s %s: %s", job.role, job.run, error)
            num_failed += 1
    if num_failed:
        sys.stderr.write(f"recon.launch: {num_failed} of {len(jobs)} jobs failed; the same command tries them again\n")
    return 1 if num_failed else 0
