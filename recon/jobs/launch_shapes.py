"""The launch of one table over several methods: a job with a rank on each core, then the report."""

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from hpc.jobs import JobError, make_executor, sbatch_text, submit, wait_for_job
from recon.jobs.cluster_jobs import TABLE_NAME, ReportJob, ShapesJob
from recon.jobs.cluster_policy import ClusterPolicy
from recon.jobs.run_status import JOBS_FOLDER, SubmittedJob, keep_jobs
from recon.shapes.shape_options import shape_task
from recon.shapes.shape_task import PAPER, VIEW

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapePlan:
    """The job that scores, and the report."""

    runs: Path
    evaluation: ShapesJob
    report: ReportJob

    def describe(self, cluster: str, policy: ClusterPolicy) -> str:
        """Return what would be submitted: on Slurm the scripts of sbatch, one after another."""
        methods = ", ".join(self.evaluation.task.ordered_methods)
        if cluster == "local":
            return f"{methods}: score into {self.evaluation.out}, on this machine\nreport: {self.report.out}\n"
        folder, python = self.runs / JOBS_FOLDER, policy.python
        scoring = policy.parameters(is_on_cores=True)
        report = policy.parameters("afterany:SCORING", is_report=True)
        scripts = [
            (f"scoring of {methods}", sbatch_text(folder, 1, python, name="shapes", **scoring)),
            ("report, after the scoring", sbatch_text(folder, 1, python, name="report", **report)),
        ]
        return "\n".join(f"### {title}\n{text}" for title, text in scripts)

    def submit_to_slurm(self, policy: ClusterPolicy) -> list[SubmittedJob]:
        """Submit both jobs; keep and return what `--status` needs of them."""
        folder, python = self.runs / JOBS_FOLDER, policy.python
        on_cores = policy.parameters(is_on_cores=True)
        scoring = submit(make_executor("slurm", folder, python, name="shapes", **on_cores), self.evaluation)
        kept = [SubmittedJob("shapes", "", "slurm", scoring.job_id, scoring.num_tasks)]
        keep_jobs(self.runs, kept)
        # After any end: proteins that failed are no reason to show nothing.
        after = policy.parameters(f"afterany:{scoring.job_id}", is_report=True)
        report = submit(make_executor("slurm", folder, python, name="report", **after), self.report)
        kept.append(SubmittedJob("report", "", "slurm", report.job_id, report.num_tasks))
        keep_jobs(self.runs, kept)
        for job in kept:
            logger.info("%s is job %s", job.role, job.job_id)
        return kept

    def run_here(self, policy: ClusterPolicy) -> int:
        """Score with one rank on all cores, then write the report; return the exit status."""
        executor = make_executor("local", self.runs / JOBS_FOLDER, name="shapes", timeout_min=policy.timeout_min)
        try:
            wait_for_job(submit(executor, self.evaluation), sys.stderr.write)
        except JobError as error:
            if not self.evaluation.out.exists():
                raise
            logger.error("%s", error)
            self.report()
            return 1
        self.report()
        return 0


def wants_table(arguments: argparse.Namespace) -> bool:
    """Say whether methods are to be scored in one table, rather than networks trained."""
    return arguments.method not in ([PAPER], [VIEW])


def plan_shapes(arguments: argparse.Namespace) -> ShapePlan:
    """Return the scoring of the methods, those of the given runs included, and the report."""
    runs = arguments.runs.resolve()
    of_runs = [name for name, given in ((PAPER, arguments.paper_run), (VIEW, arguments.view_run)) if given]
    return ShapePlan(
        runs=runs,
        evaluation=ShapesJob(shape_task(arguments, [*arguments.method, *of_runs]), runs / TABLE_NAME),
        report=ReportJob(runs, (arguments.report or runs / "report.html").resolve()),
    )
